//! A good filter that reads three fields of each run.

use runhook_sdk::prelude::*;

#[filter]
fn keep(run: &Run) -> bool {
    run.status() == "error" || run.run_type() == "llm" || run.total_tokens().is_some_and(|tokens| tokens > 1000)
}
