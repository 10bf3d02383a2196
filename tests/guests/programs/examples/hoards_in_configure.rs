//! Takes memory in `configure` until it is refused.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    #[serde(default = "hoard")]
    #[schemars(skip)]
    #[allow(dead_code, reason = "only how it is made matters")]
    nothing: bool,
}

fn hoard() -> bool {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

#[filter]
fn keep(_run: &Run, _config: &Config) -> bool {
    true
}
