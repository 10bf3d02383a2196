//! A good transform: names every run.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    #[serde(default = "renamed")]
    name: String,
}

fn renamed() -> String {
    "renamed".to_owned()
}

#[transform]
fn apply(payload: &Payload, config: &Config) -> Result<()> {
    for run in payload {
        run.set("/name", &config.name)?;
    }
    Ok(())
}
