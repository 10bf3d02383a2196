//! Panics at every call, and says which one it was.

use std::sync::atomic::{AtomicU32, Ordering};

use runhook_sdk::prelude::*;

static CALLS: AtomicU32 = AtomicU32::new(0);

#[filter]
fn keep(_run: &Run) -> bool {
    panic!("call {}", CALLS.fetch_add(1, Ordering::Relaxed) + 1)
}
