//! Refuses a payload with a message of 16 MiB.

use runhook_sdk::prelude::*;

#[filter]
fn keep(_run: &Run) -> Result<bool> {
    Err(Error::msg("no! ".repeat(4 << 20)))
}
