//! A filter that edits what it judges: marks every run, takes its name away, and keeps those that failed.

use runhook_sdk::prelude::*;

#[filter]
fn keep(run: &Run) -> Result<bool> {
    run.set("/is_seen", true)?;
    run.remove("/name");
    Ok(run.status() == "error")
}
