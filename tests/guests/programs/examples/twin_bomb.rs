//! Sets one large value at ten thousand twins of a key.

use runhook_sdk::prelude::*;

#[transform]
fn blow_up(payload: &Payload) -> Result<()> {
    payload.set_json("/twins", &format!("{{{}}}", vec![r#""a":1"#; 10_000].join(",")))?;
    payload.set("/twins/a", "x".repeat(1 << 20))
}
