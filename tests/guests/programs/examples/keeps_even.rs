//! A good filter: keeps runs with an even number of tokens.

use runhook_sdk::prelude::*;

#[filter]
fn keep(run: &Run) -> bool {
    run.total_tokens().is_some_and(|tokens| tokens % 2 == 0)
}
