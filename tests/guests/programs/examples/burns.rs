//! Works for as long as it is told, in rounds, and keeps the run.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    rounds: u64,
}

#[filter]
fn keep(_run: &Run, config: &Config) -> bool {
    (0..config.rounds).fold(1_u64, |mixed, round| std::hint::black_box(mixed).wrapping_mul(31) ^ round) != 0
}
