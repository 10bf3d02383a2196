//! Takes no configuration but `{"word": "please"}`.

use runhook_sdk::prelude::*;
use runhook_sdk::serde::de::{Deserializer, Error as _};

#[config]
struct Config {
    #[serde(deserialize_with = "please")]
    #[allow(dead_code, reason = "only its check matters")]
    word: String,
}

fn please<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let word = String::deserialize(deserializer)?;
    if word == "please" { Ok(word) } else { Err(D::Error::custom("say please")) }
}

#[filter]
fn keep(_run: &Run, _config: &Config) -> bool {
    true
}
