//! Asks for the whole payload a thousand times.

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    let bytes: usize = (0..1000).map(|_| payload.json().len()).sum();
    payload.set("/asked_for", bytes)
}
