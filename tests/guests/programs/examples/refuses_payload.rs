//! Answers every payload with an error, after an edit that has to be undone.

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    payload.set("/half", "done")?;
    bail!("not this one")
}
