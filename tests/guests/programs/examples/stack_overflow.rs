//! Calls itself without end.

use runhook_sdk::prelude::*;

#[filter]
fn keep(run: &Run) -> bool {
    descend(run.id().len()) > 0
}

#[allow(unconditional_recursion, reason = "that is the point")]
fn descend(depth: usize) -> usize {
    let frame = std::hint::black_box([depth; 64]);
    descend(depth + 1) + frame[depth % 64]
}
