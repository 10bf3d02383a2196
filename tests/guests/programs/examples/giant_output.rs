//! Writes a body of 4 GiB, or as much as it is let.

use runhook_sdk::prelude::*;

#[render]
fn render(_payload: &Payload, body: &Body) -> Result<bool> {
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..4096 {
        body.write(&chunk)?;
    }
    Ok(true)
}
