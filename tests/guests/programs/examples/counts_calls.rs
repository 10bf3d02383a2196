//! Refuses where it sees that it was called before: every payload has to meet a fresh instance.

use std::sync::atomic::{AtomicU32, Ordering};

use runhook_sdk::prelude::*;

static CALLS: AtomicU32 = AtomicU32::new(0);

#[transform]
fn apply(_payload: &Payload) -> Result<()> {
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(()),
        before => bail!("called {before} times before"),
    }
}
