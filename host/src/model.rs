//! The words of GLOSSARY.md as types: ids, secrets, projects, runs, rules, endpoints, payloads,
//! deliveries, attempts, plugins, API keys.
//!
//! No IO, no SQL, no HTTP; imports nothing of ours.

pub mod access;
pub mod api_key;
pub mod attempt;
pub mod dataset;
pub mod delivery;
pub mod endpoint;
pub mod ids;
pub mod pace;
pub mod payload;
pub mod plugin;
pub mod project;
pub mod retry;
pub mod rule;
pub mod run;
pub mod secret;
pub mod signing;

/// A point in time, to the microsecond in the store.
pub type Timestamp = jiff::Timestamp;
