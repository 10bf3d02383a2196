//! A plugin's configuration: parsed once, kept for every stage, described by its schema.
//!
//! The macros use this; [`parse`] is also for a plugin's own tests, since it refuses what the host would refuse.
//!
//! ```
//! use runhook_sdk::prelude::*;
//!
//! #[config]
//! struct Config {
//!     /// Runs with fewer tokens are dropped.
//!     min_tokens: u64,
//! }
//!
//! #[filter]
//! fn keep(run: &Run, config: &Config) -> bool {
//!     run.total_tokens().is_some_and(|tokens| tokens >= config.min_tokens)
//! }
//!
//! let config: Config = runhook_sdk::config::parse(r#"{"min_tokens": 100}"#)?;
//! assert!(keep(&Run::from_json(r#"{"total_tokens": 100}"#)?, &config));
//! let refused = runhook_sdk::config::parse::<Config>(r#"{"min_tokens": "many"}"#).map(|_| ()).unwrap_err();
//! assert_eq!(refused.to_string(), "config field `min_tokens`: invalid type: string \"many\", expected u64");
//! # Ok::<(), Error>(())
//! ```

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// The configuration in a JSON text, as the plugin gets it in a rule.
///
/// # Errors
/// It does not fit; the message names the field.
pub fn parse<C: DeserializeOwned>(json: &str) -> Result<C> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let cause = without_position(&error.inner().to_string());
        match error.path().to_string().as_str() {
            "." => Error::msg(format_args!("config: {cause}")),
            path => Error::msg(format_args!("config field `{path}`: {cause}")),
        }
    })
}

/// A position in the one line that the host writes says nothing to the author of the rule.
fn without_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(cause, _)| cause).to_owned()
}

/// What a stage may take as its configuration.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a configuration",
    label = "this type; put `#[config]` on it"
)]
pub trait Configuration: DeserializeOwned + JsonSchema {}

// Without this, the compiler names the derives that are missing, and not what gives them.
#[diagnostic::do_not_recommend]
impl<C: DeserializeOwned + JsonSchema> Configuration for C {}

#[doc(hidden)]
pub fn store<C: Configuration>(cell: &OnceLock<C>, json: &str) -> Result<()> {
    cell.set(parse(json)?).map_err(|_| Error::msg("the plugin is configured already"))
}

#[doc(hidden)]
#[allow(clippy::expect_used, reason = "the host configures before it calls a stage")]
pub fn stored<C>(cell: &'static OnceLock<C>) -> &'static C {
    cell.get().expect("`configure` was not called before the stage")
}

#[doc(hidden)]
pub fn refuse_any(json: &str) -> Result<()> {
    let fields: serde_json::Map<String, Value> = parse(json)?;
    match fields.keys().next() {
        None => Ok(()),
        Some(field) => Err(Error::msg(format_args!("this plugin takes no configuration, but got the field `{field}`"))),
    }
}

#[doc(hidden)]
pub fn schema<C: Configuration>() -> Value {
    schemars::schema_for!(C).to_value()
}

#[doc(hidden)]
pub fn describe(description: &str, version: &str, config_schema: Option<Value>) -> String {
    serde_json::json!({"description": description, "version": version, "config_schema": config_schema}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::config;

    #[config]
    #[derive(Debug)]
    #[allow(dead_code, reason = "parsed only")]
    struct Config {
        pointers: Vec<String>,
        #[serde(default)]
        limit: Option<u32>,
    }

    fn error(json: &str) -> String {
        parse::<Config>(json).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_value_is_named_with_its_path() {
        let message = error(r#"{"pointers": ["/inputs", 7]}"#);
        assert_eq!(message, "config field `pointers[1]`: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn missing_and_unknown_fields_are_named() {
        assert_eq!(error("{}"), "config: missing field `pointers`");
        let unknown = error(r#"{"pointers": [], "pointer": 1}"#);
        assert_eq!(unknown, "config field `pointer`: unknown field `pointer`, expected `pointers` or `limit`");
    }

    #[test]
    fn a_plugin_without_configuration_refuses_one() {
        assert_eq!(refuse_any("{}"), Ok(()));
        let message = refuse_any(r#"{"rate": 1}"#).unwrap_err().to_string();
        assert_eq!(message, "this plugin takes no configuration, but got the field `rate`");
    }

    #[test]
    fn the_schema_lists_the_fields() {
        let schema = schema::<Config>();
        assert_eq!(schema["required"], serde_json::json!(["pointers"]));
        assert_eq!(schema["additionalProperties"], false);
    }
}
