//! Sets what is JSON and hardly anybody writes: a number beyond all floats, keys that stand twice, 10,000 arrays in arrays.

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    const DEPTH: usize = 10_000;
    payload.set_json("/huge", "1e400")?;
    payload.set_json("/twice", r#"{"a": "first", "a": "last"}"#)?;
    payload.set_json("/deep", &["[".repeat(DEPTH), "]".repeat(DEPTH)].concat())?;
    payload.set("/read", payload.text("/twice/a"))?;
    if payload.get::<Value>("/deep").is_ok() {
        bail!("serde_json goes deeper than it says");
    }
    payload.set("/twice/a", "edited")
}
