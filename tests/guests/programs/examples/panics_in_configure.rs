//! Panics in `configure`.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    #[serde(default = "panics")]
    #[schemars(skip)]
    #[allow(dead_code, reason = "only how it is made matters")]
    nothing: bool,
}

fn panics() -> bool {
    panic!("no idea how")
}

#[filter]
fn keep(_run: &Run, _config: &Config) -> bool {
    true
}
