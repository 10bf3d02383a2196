//! Writes into the payload how often it was configured and called, as its memory tells.

use std::sync::atomic::{AtomicU32, Ordering};

use runhook_sdk::prelude::*;

static CONFIGURED: AtomicU32 = AtomicU32::new(0);
static CALLED: AtomicU32 = AtomicU32::new(0);

#[config]
struct Config {
    #[serde(default = "count")]
    #[schemars(skip)]
    nth: u32,
}

fn count() -> u32 {
    CONFIGURED.fetch_add(1, Ordering::Relaxed) + 1
}

#[transform]
fn apply(payload: &Payload, config: &Config) -> Result<()> {
    let called = CALLED.fetch_add(1, Ordering::Relaxed) + 1;
    payload.set("/counts", [config.nth, CONFIGURED.load(Ordering::Relaxed), called])
}
