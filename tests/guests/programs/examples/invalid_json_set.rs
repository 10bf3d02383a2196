//! Tries to put into the payload what is no JSON; refuses where one was taken.

use runhook_sdk::prelude::*;

const BAD: [&str; 12] =
    ["", " ", "NaN", "nul", "{", "[1,]", "{\"a\":1,}", "1 2", "'a'", "\"\u{1}\"", "01", "\"runs\":[]"];

#[transform]
fn apply(payload: &Payload) -> Result<()> {
    for bad in BAD {
        if payload.set_json("/bad", bad).is_ok() {
            bail!("the host took `{bad}`");
        }
        for run in payload {
            if run.set_json("/bad", bad).is_ok() {
                bail!("the host took `{bad}` for a run");
            }
        }
    }
    Ok(())
}
