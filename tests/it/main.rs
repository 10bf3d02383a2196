//! End-to-end tests: real sockets, the real store, the real binary; time is manual where it matters.
#![allow(clippy::unwrap_used, reason = "where a test's helper fails, the test fails")]

mod compat;
mod datasets;
mod delivery_docs;
mod determinism;
mod directory;
mod dispatching;
mod fanning_out;
mod guests;
mod host_process;
mod hostile;
mod idle_rules;
mod isolation;
mod kill;
mod langsmith_profile;
mod languages;
mod large_fields;
mod ledger;
mod linked_fields;
mod offload;
mod plugin_commands;
mod power_loss;
mod receiving;
mod relay;
mod retention;
mod rules;
mod rules_docs;
mod s3;
mod secrets;
mod signatures;
mod snapshots;
mod support;
mod tidy;
mod tracing_sdks;
mod windows;
