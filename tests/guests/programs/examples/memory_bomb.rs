//! Takes memory until it is refused.

use runhook_sdk::prelude::*;

#[filter]
fn keep(_run: &Run) -> bool {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}
