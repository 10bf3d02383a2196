//! Never comes back.

use runhook_sdk::prelude::*;

#[filter]
fn keep(_run: &Run) -> bool {
    loop {
        std::hint::black_box(0);
    }
}
