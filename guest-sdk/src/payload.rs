//! The payload, as a plugin sees it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::PayloadHandle;
use crate::run::parse_at;
use crate::{Error, Result, Run};

/// What the rule wants to send: its runs and what stands beside them. A `pointer` is as in [`Run`], from the top.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[transform]
/// fn mark(payload: &Payload) -> Result<()> {
///     payload.retain(|run| run.error().is_some());
///     for run in payload {
///         run.set("/name", format!("failed: {}", run.name()))?;
///     }
///     payload.set("/marked_by", "example")
/// }
///
/// let payload = Payload::from_json(r#"{"runs": [{"name": "a", "error": "boom"}, {"name": "b"}]}"#)?;
/// mark(&payload)?;
/// assert_eq!(payload.len(), 1);
/// assert_eq!(payload.json(), r#"{"runs":[{"name":"failed: a","error":"boom"}],"marked_by":"example"}"#);
/// # Ok::<(), Error>(())
/// ```
#[cfg_attr(target_family = "wasm", derive(ref_cast::RefCast))]
#[repr(transparent)]
pub struct Payload(PayloadHandle);

impl Payload {
    /// The rule's id.
    pub fn rule_id(&self) -> String {
        self.0.rule_id()
    }

    /// Begin of the window in which the rule looked for runs, RFC 3339.
    pub fn start_time(&self) -> String {
        self.0.start_time()
    }

    /// End of that window.
    pub fn end_time(&self) -> String {
        self.0.end_time()
    }

    /// Number of runs that are left.
    pub fn len(&self) -> usize {
        self.0.len() as usize
    }

    /// Whether no run is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The run at an index from 0; none past the end.
    pub fn run(&self, index: usize) -> Option<Run> {
        self.0.run(u32::try_from(index).ok()?).map(Run::of)
    }

    /// All runs that are left. Do not drop runs meanwhile: [`Payload::retain`] does that.
    pub fn runs(&self) -> Runs<'_> {
        Runs { payload: self, next: 0 }
    }

    /// Takes the run at an index out of the payload; the ones behind it move up. False past the end.
    pub fn drop_run(&self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|index| self.0.drop_run(index))
    }

    /// Takes every run out for which the closure says false.
    pub fn retain(&self, mut is_kept: impl FnMut(&Run) -> bool) {
        let mut index = 0;
        while let Some(run) = self.run(index) {
            if is_kept(&run) {
                index += 1;
            } else {
                self.drop_run(index);
            }
        }
    }

    /// The whole document as it stands, as JSON text.
    pub fn json(&self) -> String {
        self.0.json()
    }

    /// The string at a pointer; none where there is no string.
    pub fn text(&self, pointer: &str) -> Option<String> {
        self.0.text(pointer)
    }

    /// The JSON text at a pointer, exactly as it stands in the payload.
    pub fn json_at(&self, pointer: &str) -> Option<String> {
        self.0.get(pointer)
    }

    /// The value at a pointer, as a type of yours; none where there is nothing.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn get<T: DeserializeOwned>(&self, pointer: &str) -> Result<Option<T>> {
        parse_at(self.json_at(pointer), pointer)
    }

    /// Replaces the value at a pointer, or adds it where its parent exists; see [`Run::set`].
    ///
    /// # Errors
    /// The parent does not exist, or the pointer is none.
    pub fn set(&self, pointer: &str, value: impl Serialize) -> Result<()> {
        self.set_json(pointer, &serde_json::to_string(&value)?)
    }

    /// Replaces the value at a pointer with a JSON text.
    ///
    /// # Errors
    /// As [`Payload::set`], or the text is no JSON.
    pub fn set_json(&self, pointer: &str, json: &str) -> Result<()> {
        self.0.set(pointer, json).map_err(Error::msg)
    }

    /// Removes the value at a pointer. False where there was none.
    pub fn remove(&self, pointer: &str) -> bool {
        self.0.remove(pointer)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Payload {
    /// A payload in memory, for tests.
    ///
    /// # Errors
    /// The text is no JSON object.
    pub fn from_json(json: &str) -> Result<Self> {
        PayloadHandle::parse(json).map(Self)
    }
}

/// The runs of a payload, in order.
pub struct Runs<'a> {
    payload: &'a Payload,
    next: usize,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let run = self.payload.run(self.next)?;
        self.next += 1;
        Some(run)
    }
}

impl<'a> IntoIterator for &'a Payload {
    type Item = Run;
    type IntoIter = Runs<'a>;

    fn into_iter(self) -> Runs<'a> {
        self.runs()
    }
}
