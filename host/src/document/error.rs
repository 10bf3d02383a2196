//! What can be wrong with a payload, and with an edit of it. Knows nothing of who sent or edits it.

use thiserror::Error;

use super::edit::TWINS_BYTES_MAX;
use super::pointer::{BYTES_MAX, TOKENS_MAX};

/// Why bytes are not a payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Not JSON (RFC 8259), or not UTF-8.
    #[error("not JSON: {message} at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        message: &'static str,
    },
    /// JSON, but no payload.
    #[error("not a payload: an object is needed in which `runs` or `threads` is an array")]
    Shape,
    /// A payload, but of more pieces than are kept apart.
    #[error("too many {what}: there are {count}, and a payload may have {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

/// Why a value could not be set. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// Not a pointer in the sense of RFC 6901, or one beyond the bounds.
    #[error(
        "`{pointer}` is not a JSON pointer: it is empty or starts with `/`, `~` stands only in `~0` and `~1`, and it \
         has at most {TOKENS_MAX} tokens and {BYTES_MAX} bytes"
    )]
    Pointer {
        /// As it was given; of a long one the beginning.
        pointer: String,
    },
    /// The place in which to set does not exist.
    #[error("cannot set `{pointer}`: there is nothing at `{part}`")]
    Missing {
        /// As it was given.
        pointer: String,
        /// The part of it that leads nowhere.
        part: String,
    },
    /// The place in which to set is a string, a number, a boolean or null.
    #[error("cannot set `{pointer}`: what stands at `{part}` is neither an object nor an array")]
    Scalar {
        /// As it was given.
        pointer: String,
        /// The part of it that leads to the value.
        part: String,
    },
    /// No element of the array.
    #[error(
        "cannot set `{pointer}`: the array at `{part}` has {len} elements, and an index counts from 0 without leading \
         zeros (`-` is the place behind the last)"
    )]
    Index {
        /// As it was given.
        pointer: String,
        /// The part of it that leads to the array.
        part: String,
        /// Elements of the array.
        len: usize,
    },
    /// The value to be set is not JSON.
    #[error("the value is {0}")]
    Value(DocumentError),
    /// The run is no longer in the payload.
    #[error("the run is no longer in the payload")]
    Dropped,
    /// The payload would be none any more.
    #[error("the payload has to stay an object in which `runs` or `threads` is an array")]
    Shape,
    /// `runs` would be no array any more.
    #[error("`/runs` can only be replaced by an array")]
    Runs,
    /// The value would be written at so many duplicate keys that the payload outgrows all reason.
    #[error(
        "cannot set `{pointer}`: its keys stand there several times, and the value at each of them would be more than \
         {} MiB",
        TWINS_BYTES_MAX / 1024 / 1024
    )]
    Twins {
        /// As it was given.
        pointer: String,
    },
    /// The payload would be of more pieces than are kept apart.
    #[error("the payload would have more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}
