//! Root of the crate that tests/fuzz builds: the modules that read what strangers send, as they stand, without the engine
//! around them, so that an instrumented build takes a minute. No module of the host.

#![allow(dead_code, unused_imports, unreachable_pub, rustdoc::broken_intra_doc_links, reason = "a part of the host")]

pub mod aside;
pub mod document;
pub mod filter;
pub mod ingest;
pub mod layers;
pub mod limits;
pub mod model;
pub mod nearest;

/// Of the accept path, what body streams fail with.
pub mod intake {
    pub mod decode;

    pub use decode::{BodyError, BodyLimits, Decompressed, Encoding};
}
