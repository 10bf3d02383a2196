//! Takes handles to runs and gives none back.

use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) {
    loop {
        std::mem::forget(payload.run(0));
    }
}
