//! The error of a plugin: a message for whoever wrote the rule.

use std::fmt;

/// Why a plugin could not do its work, in words. Every `std` error becomes one with `?`.
///
/// Keep secrets out of the message: it is logged and stored with the delivery.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// fn channel(run: &Run) -> Result<u16> {
///     let Some(channel) = run.text("/extra/channel") else { bail!("no channel for {}", run.name()) };
///     channel.parse().map_err(|error| Error::from(error).context(&channel))
/// }
///
/// let error = |run: &str| channel(&Run::from_json(run).unwrap()).unwrap_err().to_string();
/// assert_eq!(error(r#"{"name": "a"}"#), "no channel for a");
/// assert_eq!(error(r#"{"extra": {"channel": "x"}}"#), "x: invalid digit found in string");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

/// A plugin's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this message; [`bail!`](crate::bail) returns one in a line.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }

    /// The same error, with what was being done before it.
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self(format!("{doing}: {}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self(message)
    }
}

/// Returns an [`Error`] with a message written as for [`format!`].
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::msg(::std::format_args!($($message)+)))
    };
}
