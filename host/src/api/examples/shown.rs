//! An example as LangSmith's API shows it.

use bytestring::ByteString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::given::SPLITS;
use crate::api::body::raw;
use crate::document::Fields;
use crate::model::Timestamp;
use crate::model::dataset::Example;
use crate::model::ids::{DatasetId, ExampleId, RunId};

/// Keys as in LangSmith's `Example`.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: ExampleId,
    dataset_id: DatasetId,
    name: String,
    inputs: Option<&'a RawValue>,
    outputs: Option<&'a RawValue>,
    metadata: Option<Box<RawValue>>,
    source_run_id: Option<RunId>,
    created_at: Timestamp,
    modified_at: Timestamp,
    attachment_urls: Option<()>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(example: &'a Example) -> Self {
        Self {
            id: example.id,
            dataset_id: example.dataset,
            name: name(example.id),
            inputs: raw(&example.inputs),
            outputs: example.outputs.as_deref().and_then(raw),
            metadata: metadata(example.metadata.as_ref(), &example.splits),
            source_run_id: example.source_run,
            created_at: example.created_at,
            modified_at: example.modified_at,
            attachment_urls: None,
        }
    }
}

/// LangSmith names every example; the end of an id tells more of them apart than its beginning, which is a time.
fn name(id: ExampleId) -> String {
    let id = id.to_string();
    format!("#{}", id.rsplit('-').next().unwrap_or(&id))
}

/// The metadata with the splits in it.
fn metadata(own: Option<&ByteString>, splits: &[String]) -> Option<Box<RawValue>> {
    if splits.is_empty() {
        return raw(own?).map(ToOwned::to_owned);
    }
    let splits = to_raw_value(splits).ok()?;
    let mut members: Vec<_> =
        own.into_iter().filter_map(|own| Fields::of(own)).flatten().map(|field| field.source).collect();
    let last = format!("\"{SPLITS}\":{splits}");
    members.push(&last);
    RawValue::from_string(format!("{{{}}}", members.join(","))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(own: Option<&'static str>, splits: &[&str]) -> Option<String> {
        let splits: Vec<_> = splits.iter().map(|&split| split.to_owned()).collect();
        metadata(own.map(ByteString::from_static).as_ref(), &splits).map(|json| json.get().to_owned())
    }

    #[test]
    fn splits_are_shown_in_metadata_and_the_rest_as_it_stands() {
        assert_eq!(shown(None, &[]), None);
        assert_eq!(shown(Some(r#"{"a": 1.0}"#), &[]).unwrap(), r#"{"a": 1.0}"#);
        assert_eq!(shown(None, &["x"]).unwrap(), r#"{"dataset_split":["x"]}"#);
        assert_eq!(shown(Some(r#"{ "a" : 1.0 }"#), &["x", "\""]).unwrap(), r#"{"a" : 1.0,"dataset_split":["x","\""]}"#);
        assert_eq!(shown(Some("{}"), &["x"]).unwrap(), r#"{"dataset_split":["x"]}"#);
    }
}
