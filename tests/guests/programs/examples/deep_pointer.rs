//! Nests a value 30,000 deep and asks for its innermost part.

use runhook_sdk::prelude::*;

#[transform]
fn dig(payload: &Payload) -> Result<()> {
    const DEPTH: usize = 30_000;
    payload.set_json("/deep", &["[".repeat(DEPTH), "]".repeat(DEPTH)].concat())?;
    let pointer = ["/deep", &"/0".repeat(DEPTH)].concat();
    let is_found = payload.json_at(&pointer).is_some() | payload.remove(&pointer);
    payload.set("/deep", is_found)
}
