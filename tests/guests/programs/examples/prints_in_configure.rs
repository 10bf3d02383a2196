//! Prints in `configure`, and so keeps a stream that only this instance has.

use runhook_sdk::prelude::*;

#[config]
struct Config {
    #[serde(default = "prints")]
    #[schemars(skip)]
    mark: String,
}

fn prints() -> String {
    println!("configured");
    "printed".to_owned()
}

#[transform]
fn apply(payload: &Payload, config: &Config) -> Result<()> {
    println!("applied");
    payload.set("/mark", &config.mark)
}
