//! Asks the host without end.

use runhook_sdk::prelude::*;

#[filter]
fn keep(run: &Run) -> bool {
    loop {
        std::hint::black_box(run.status());
    }
}
