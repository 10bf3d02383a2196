//! Never comes back from `configure`.

use std::borrow::Cow;

use runhook_sdk::prelude::*;
use runhook_sdk::schemars::{Schema, SchemaGenerator};
use runhook_sdk::serde::de::Deserializer;

struct Config;

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        loop {
            std::hint::black_box(0);
        }
    }
}

impl JsonSchema for Config {
    fn schema_name() -> Cow<'static, str> {
        "Config".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

#[filter]
fn keep(_run: &Run, _config: &Config) -> bool {
    true
}
