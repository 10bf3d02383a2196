//! Panics, with a message.

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) {
    panic!("no idea what to do with {} runs", payload.len());
}
