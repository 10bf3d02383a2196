//! Waits for input that never comes, or finds that there is none.

use std::io::Read;

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    payload.set("/input", text)
}
