//! The test guests as files: one tiny guest per behaviour, built from `programs/examples`.
//!
//! [`ALL`] lists those that are plugins; [`TRUNCATED`] (half a component) and [`CORE_MODULE`] are none. A test that
//! goes through [`ALL`] and matches on the names sees to it that no behaviour is left without a test.

include!(concat!(env!("OUT_DIR"), "/paths.rs"));
