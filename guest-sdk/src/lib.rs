//! Write plugins for runhook: a function under [`filter`](macro@filter), [`transform`](macro@transform) or
//! [`render`](macro@render), built with `cargo build --release --target wasm32-wasip2`, is a plugin.
//!
//! ```
//! use runhook_sdk::prelude::*;
//!
//! #[filter]
//! fn keep_errors(run: &Run) -> bool {
//!     run.status() == "error"
//! }
//! # fn main() {}
//! ```
//!
//! The payload stays in the host; [`Run`] and [`Payload`] are handles to it, and only what is asked for is copied.
//! Natively, for a plugin's own tests, the same types hold a payload in memory: [`Payload::from_json`].
//!
//! Several stages and a configuration make a module:
//!
//! ```
//! /// Slow runs only, without their inputs.
//! #[runhook_sdk::plugin]
//! mod slow_runs {
//!     use runhook_sdk::prelude::*;
//!
//!     #[config]
//!     pub struct Config {
//!         pub slower_than_ms: f64,
//!     }
//!
//!     #[filter]
//!     pub fn is_slow(run: &Run, config: &Config) -> bool {
//!         run.latency_ms().is_some_and(|latency| latency > config.slower_than_ms)
//!     }
//!
//!     #[transform]
//!     pub fn drop_inputs(payload: &Payload) {
//!         for run in payload.runs() {
//!             run.remove("/inputs");
//!         }
//!     }
//! }
//!
//! use runhook_sdk::{Payload, Run};
//!
//! let config = runhook_sdk::config::parse(r#"{"slower_than_ms": 1000}"#)?;
//! let run = Run::from_json(r#"{"start_time": "2026-07-01T09:00:00", "end_time": "2026-07-01T09:00:09"}"#)?;
//! assert!(slow_runs::is_slow(&run, &config));
//! let payload = Payload::from_json(r#"{"runs": [{"id": "1", "inputs": "why?"}]}"#)?;
//! slow_runs::drop_inputs(&payload);
//! assert_eq!(payload.json(), r#"{"runs":[{"id":"1"}]}"#);
//! # Ok::<(), runhook_sdk::Error>(())
//! ```
//!
//! A plugin's error, or its panic, does not harm the host: the rule's `on_error` says what becomes of the payload.
//! Each payload meets the plugin as it was after configuration; a static remembers nothing of the one before.

// The macros write `::runhook_sdk`; this crate's own tests use them too.
#[cfg(test)]
extern crate self as runhook_sdk;

mod body;
pub mod config;
#[doc(hidden)]
pub mod contract;
mod error;
#[cfg(target_family = "wasm")]
mod guest;
#[doc(hidden)]
pub mod log;
#[cfg(not(target_family = "wasm"))]
mod memory;
mod payload;
mod run;
pub mod strings;

#[cfg(target_family = "wasm")]
use guest as backend;
#[cfg(not(target_family = "wasm"))]
use memory as backend;

pub use body::Body;
pub use error::{Error, Result};
pub use payload::{Payload, Runs};
pub use run::Run;
pub use runhook_sdk_macros::{config, filter, plugin, render, transform};
pub use {schemars, serde, serde_json};

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use guest::bindings;

/// What a plugin needs, in one line: `use runhook_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{Body, Error, Payload, Result, Run, bail};
    pub use crate::{config, filter, plugin, render, transform};
    pub use crate::{debug, error, info, trace, warn};
    pub use schemars::JsonSchema;
    pub use serde::Deserialize;
    pub use serde_json::{Value, json};
}
