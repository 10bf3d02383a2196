//! Writes its configuration into the payload.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    texts: Vec<String>,
}

#[transform]
fn apply(payload: &Payload, config: &Config) -> Result<()> {
    payload.set("/echo", &config.texts)
}
