//! Ends its process in `configure`, or tries to.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    #[serde(default = "exits")]
    #[schemars(skip)]
    #[allow(dead_code, reason = "only how it is made matters")]
    nothing: bool,
}

fn exits() -> bool {
    std::process::exit(7)
}

#[filter]
fn keep(_run: &Run, _config: &Config) -> bool {
    true
}
