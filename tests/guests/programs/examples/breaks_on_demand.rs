//! Does what a run's name says: `bad` panics deep inside, `refused` is an error in words, everything else is kept.

use runhook_sdk::prelude::*;
use runhook_sdk::serde::Deserialize;

#[derive(Deserialize, runhook_sdk::schemars::JsonSchema)]
#[serde(crate = "runhook_sdk::serde")]
#[schemars(crate = "runhook_sdk::schemars")]
struct Config {
    /// Tells one configuration from another.
    #[serde(default)]
    #[allow(dead_code, reason = "only that it differs matters")]
    number: u32,
}

#[filter]
fn keep(run: &Run, _config: &Config) -> Result<bool> {
    match run.name().as_str() {
        "bad" => {
            println!("it goes wrong");
            Ok(outer(run))
        }
        "refused" => bail!("not this one"),
        _ => Ok(true),
    }
}

#[inline(never)]
fn outer(run: &Run) -> bool {
    std::hint::black_box(inner(run)) > 0
}

#[inline(never)]
fn inner(run: &Run) -> usize {
    let table = std::hint::black_box(vec![1, 2, 3]);
    table[run.name().len() + 7]
}
