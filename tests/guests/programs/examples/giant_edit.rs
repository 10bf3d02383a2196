//! Puts 4 GiB into the payload, or as much as it is let.

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    let chunk = "x".repeat(1 << 20);
    for at in 0..4096 {
        payload.set(&format!("/giant-{at}"), &chunk)?;
    }
    Ok(())
}
