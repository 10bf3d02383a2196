//! What the macros implement for a plugin, in the SDK's own types. Not part of the public interface.

use std::fmt::Display;

use crate::{Body, Payload, Result, Run};

/// What every plugin has.
pub trait Lifecycle {
    /// JSON: description, version, the configuration's schema.
    fn describe() -> String;
    /// Takes the rule's configuration, once.
    ///
    /// # Errors
    /// The configuration does not fit.
    fn configure(config: &str) -> Result<()>;
}

/// A plugin with a filter stage.
pub trait Filter {
    /// Whether the run stays.
    ///
    /// # Errors
    /// The plugin's own.
    fn keep(run: &Run) -> Result<bool, String>;
}

/// A plugin with a transform stage.
pub trait Transform {
    /// Edits the payload.
    ///
    /// # Errors
    /// The plugin's own.
    fn apply(payload: &Payload) -> Result<(), String>;
}

/// A plugin with a render stage.
pub trait Render {
    /// Writes the body; false where there is nothing to send.
    ///
    /// # Errors
    /// The plugin's own.
    fn render(payload: &Payload, body: &Body) -> Result<bool, String>;
}

/// What a stage may answer: the value itself, or a result with any error that can be shown.
#[diagnostic::on_unimplemented(message = "a stage cannot answer `{Self}`", label = "should be `{T}` or `Result<{T}>`")]
pub trait Answer<T> {
    /// The answer as the host takes it.
    ///
    /// # Errors
    /// The stage's own.
    fn into_result(self) -> Result<T, String>;
}

impl Answer<bool> for bool {
    fn into_result(self) -> Result<bool, String> {
        Ok(self)
    }
}

impl Answer<()> for () {
    fn into_result(self) -> Result<(), String> {
        Ok(self)
    }
}

impl<T, E: Display> Answer<T> for Result<T, E> {
    fn into_result(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}
