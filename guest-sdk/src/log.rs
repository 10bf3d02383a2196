//! Logging: the lines go to runhook's log under the plugin's name; natively they go to stderr.

use std::fmt;

#[doc(hidden)]
pub fn log(level: &str, message: fmt::Arguments<'_>) {
    crate::backend::log(level, &message.to_string());
}

/// Logs a line at level `error`.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log::log("error", ::std::format_args!($($message)+)) };
}

/// Logs a line at level `warn`.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log::log("warn", ::std::format_args!($($message)+)) };
}

/// Logs a line at level `info`.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[filter]
/// fn keep(run: &Run) -> bool {
///     info!("a look at {}", run.id());
///     true
/// }
///
/// assert!(keep(&Run::from_json("{}")?));
/// # Ok::<(), Error>(())
/// ```
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log::log("info", ::std::format_args!($($message)+)) };
}

/// Logs a line at level `debug`.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log::log("debug", ::std::format_args!($($message)+)) };
}

/// Logs a line at level `trace`.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log::log("trace", ::std::format_args!($($message)+)) };
}
