//! What is wrong with a request as a whole.

use crate::intake::BodyError;

/// Why a request, or the rest of it, was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Another content type (415).
    #[error("the content-type is `{0}`; runs in parts come as `multipart/form-data; boundary=…`")]
    NotMultipart(String),
    /// The content type does not say how its parts are told apart (400).
    #[error("the content-type `{0}` has no boundary of 1 to 70 characters")]
    NoBoundary(String),
    /// The multipart body stops before its closing delimiter (400).
    #[error("the multipart body ends behind {parts} complete parts, without the delimiter that closes it")]
    CutShort {
        /// Complete parts before.
        parts: usize,
    },
    /// More parts, or more runs, than one request may have (413).
    #[error("the request has more than {0} parts or runs; send it as several")]
    TooManyParts(usize),
    /// The body could not be read: 413 for its size, 400 for its encoding, 503 for our trouble.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A JSON body that is none, or not the object that belongs there (400).
    #[error("the body cannot be taken: {0}")]
    Document(String),
}
