//! The whole run out of its halves.

use std::borrow::Cow;

use bytestring::ByteString;
use memchr::memmem;

use crate::document;
use crate::model::Timestamp;
use crate::model::ids::{ProjectId, RunId};
use crate::model::run::{Run, RunBlobs, Status};

use super::blob::blob;
use super::head::{Head, has_error};
use super::known::RunFields;
use super::{LayerError, dotted_order, merge, text_or_json, time, usage, uuid};

/// The run as its halves make it. Without a `start_time` it begins where `dotted_order` says, else at its end, else
/// when it was stored. Without a `dotted_order` its place is its own segment, whether it is a root or not. Without a
/// `run_type` it is a `chain`, without a `name` it has an empty one.
///
/// # Errors
/// Where one of the halves is no JSON object.
pub fn run(
    id: RunId,
    project: ProjectId,
    modified_at: Timestamp,
    post: Option<&ByteString>,
    patch: Option<&ByteString>,
) -> Result<Run, LayerError> {
    let halves = Halves { post: Half::read(post)?, patch: Half::read(patch)? };
    let fields = halves.patch.fields.or(halves.post.fields);
    let head = Head::of(&fields);
    let start_time = head.start_time.or(head.end_time).unwrap_or(modified_at);
    let dotted_order = fields.dotted_order.and_then(document::text).filter(|given| !given.is_empty());
    let extra = halves.extra();
    let (tokens, costs) = usage::usage(&fields, extra.as_deref());
    let (inputs, inputs_blob) = or_blob(halves.slice(|fields| fields.inputs));
    let (outputs, outputs_blob) = or_blob(halves.slice(|fields| fields.outputs));
    Ok(Run {
        id,
        trace: head.trace_of(id),
        parent: head.parent,
        project,
        name: head.name.unwrap_or_default(),
        run_type: head.run_type.unwrap_or_else(|| "chain".to_owned()),
        dotted_order: dotted_order.map_or_else(|| dotted_order::segment(start_time, id), Cow::into_owned),
        start_time,
        end_time: head.end_time,
        first_token_time: first_token_time(&fields),
        modified_at,
        status: status(&fields, head.has_ended),
        error: fields.error.map(text_or_json).filter(|error| !error.is_empty()).map(Cow::into_owned),
        tags: fields.tags.map(tags).unwrap_or_default(),
        tokens,
        costs,
        reference_example: fields.reference_example_id.and_then(uuid),
        inputs,
        outputs,
        blobs: RunBlobs { inputs: inputs_blob, outputs: outputs_blob },
        extra,
        events: halves.slice(|fields| fields.events),
        serialized: halves.slice(|fields| fields.serialized),
    })
}

/// A value that stands here, or the key of the blob that it is.
fn or_blob(value: Option<ByteString>) -> (Option<ByteString>, Option<String>) {
    match value.as_deref().and_then(blob) {
        Some(key) => (None, Some(key)),
        None => (value, None),
    }
}

/// A half and what is in it.
#[derive(Default)]
struct Half<'a> {
    text: Option<&'a ByteString>,
    fields: RunFields<'a>,
}

impl<'a> Half<'a> {
    fn read(text: Option<&'a ByteString>) -> Result<Self, LayerError> {
        let fields = text.map(|text| RunFields::read(text)).transpose()?.unwrap_or_default();
        Ok(Self { text, fields })
    }

    /// A value as a slice of the half that it stands in.
    fn slice(&self, value: Option<&str>) -> Option<ByteString> {
        Some(self.text?.slice_ref(value?))
    }
}

struct Halves<'a> {
    post: Half<'a>,
    patch: Half<'a>,
}

impl<'a> Halves<'a> {
    fn slice(&self, field: impl Fn(&RunFields<'a>) -> Option<&'a str>) -> Option<ByteString> {
        self.patch.slice(field(&self.patch.fields)).or_else(|| self.post.slice(field(&self.post.fields)))
    }

    /// The SDKs patch all of `extra` (captured); what is patched by hand has only the keys that are new.
    fn extra(&self) -> Option<ByteString> {
        let (Some(post), Some(patch)) = (self.post.fields.extra, self.patch.fields.extra) else {
            return self.slice(|fields| fields.extra);
        };
        match merge::over(post, patch, Some("metadata")) {
            Cow::Borrowed(patch) => self.patch.slice(Some(patch)),
            Cow::Owned(merged) => Some(merged.into()),
        }
    }
}

fn status(fields: &RunFields<'_>, has_ended: bool) -> Status {
    match has_ended {
        true if has_error(fields) => Status::Error,
        true => Status::Success,
        false => Status::Pending,
    }
}

/// Elements that are no strings are left out.
fn tags(json: &str) -> Vec<String> {
    document::elements(json).filter_map(document::text).map(Cow::into_owned).collect()
}

/// As the client says, else when the first `new_token` event was, which is how the SDKs tell it.
fn first_token_time(fields: &RunFields<'_>) -> Option<Timestamp> {
    let given = fields.first_token_time.and_then(time::time);
    given.or_else(|| {
        let events = fields.events.filter(|events| memmem::find(events.as_bytes(), b"\"new_token\"").is_some())?;
        let is_token = |event: &&str| document::member(event, "name") == Some("\"new_token\"");
        let event = document::elements(events).find(is_token)?;
        time::time(document::member(event, "time")?)
    })
}
