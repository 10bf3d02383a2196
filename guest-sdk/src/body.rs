//! The body that a render stage writes.

use serde::Serialize;

use crate::backend::BodyHandle;
use crate::{Error, Result};

/// What is sent instead of the payload's JSON.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[render]
/// fn lines(payload: &Payload, body: &Body) -> Result<bool> {
///     body.set_content_type("text/plain")?;
///     body.set_header("x-team", "search")?;
///     for run in payload.runs() {
///         body.write(format!("{}\n", run.name()))?;
///     }
///     Ok(!payload.is_empty())
/// }
///
/// let body = Body::new();
/// assert!(lines(&Payload::from_json(r#"{"runs": [{"name": "a"}, {"name": "b"}]}"#)?, &body)?);
/// assert_eq!(body.text(), "a\nb\n");
/// assert_eq!(body.header("x-team").as_deref(), Some("search"));
/// # Ok::<(), Error>(())
/// ```
#[cfg_attr(target_family = "wasm", derive(ref_cast::RefCast))]
#[repr(transparent)]
pub struct Body(BodyHandle);

impl Body {
    /// Sets the content type; without it, it is `application/json`.
    ///
    /// # Errors
    /// The host refuses the value.
    pub fn set_content_type(&self, value: &str) -> Result<()> {
        self.0.set_content_type(value).map_err(Error::msg)
    }

    /// Adds a header.
    ///
    /// # Errors
    /// The name or the value is none, or the name is one that the host owns (such as `host` or `webhook-id`).
    pub fn set_header(&self, name: &str, value: &str) -> Result<()> {
        self.0.set_header(name, value).map_err(Error::msg)
    }

    /// Appends to the body.
    ///
    /// # Errors
    /// The body grows over the host's limit.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.write(bytes.as_ref()).map_err(Error::msg)
    }

    /// Appends a value as JSON.
    ///
    /// # Errors
    /// As [`Body::write`], or the value cannot be written as JSON.
    pub fn write_json(&self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.write(serde_json::to_vec(value)?)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Body {
    /// An empty body in memory, for tests.
    #[allow(clippy::new_without_default, reason = "exists natively only; a default would not")]
    pub fn new() -> Self {
        Self(BodyHandle::default())
    }

    /// What was written, as text; for tests.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.bytes()).into_owned()
    }

    /// The content type that was set; for tests.
    pub fn content_type(&self) -> Option<String> {
        self.0.content_type()
    }

    /// The value of a header that was set; for tests.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }
}
