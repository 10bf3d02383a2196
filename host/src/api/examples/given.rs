//! An example as clients give it: new, or as a change in which only what is named is changed.

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::answer::ApiError;
use crate::api::body::{object, read, refuse, time};
use crate::document::Fields;
use crate::model::Timestamp;
use crate::model::dataset::Example;
use crate::model::ids::{DatasetId, ExampleId, RunId};
use crate::store::datasets::ExampleChange;

/// The key of metadata under which LangSmith shows an example's splits.
pub(super) const SPLITS: &str = "dataset_split";

/// What was given; what was null was not.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenExample {
    id: Option<ExampleId>,
    dataset: Option<DatasetId>,
    inputs: Option<ByteString>,
    outputs: Option<ByteString>,
    metadata: Option<ByteString>,
    splits: Option<Vec<String>>,
    source_run: Option<RunId>,
    created_at: Option<Timestamp>,
}

/// As it stands in JSON; what is not here is passed over.
#[derive(Deserialize)]
struct Wire<'a> {
    id: Option<ExampleId>,
    dataset_id: Option<DatasetId>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    split: Option<Split>,
    source_run_id: Option<RunId>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    use_source_run_io: Option<Value>,
    use_source_run_attachments: Option<Value>,
    attachments_operations: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`split` has to be a string or an array of strings")]
enum Split {
    One(String),
    Several(Vec<String>),
}

impl Split {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(split) => vec![split],
            Self::Several(splits) => splits,
        }
    }
}

impl GivenExample {
    /// Reads the JSON of an example, which stands there.
    pub(super) fn read(json: &str, at: &str) -> Result<Self, ApiError> {
        let wire: Wire<'_> = read(json, at)?;
        let place = |key: &str| format!("{at}.{key}");
        refuse(wire.use_source_run_io.as_ref(), &place("use_source_run_io"))?;
        refuse(wire.use_source_run_attachments.as_ref(), &place("use_source_run_attachments"))?;
        refuse(wire.attachments_operations.as_ref(), &place("attachments_operations"))?;
        let metadata = object(wire.metadata, &place("metadata"))?;
        let (metadata, splits) = metadata.map_or(Ok((None, None)), |json| apart(json, &place("metadata")))?;
        Ok(Self {
            id: wire.id,
            dataset: wire.dataset_id,
            inputs: object(wire.inputs, &place("inputs"))?,
            outputs: object(wire.outputs, &place("outputs"))?,
            metadata,
            splits: wire.split.map(Split::into_vec).or(splits),
            source_run: wire.source_run_id,
            created_at: time(wire.created_at, &place("created_at"))?,
        })
    }

    /// With the id under which it came.
    pub(super) fn named(self, id: ExampleId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// With inputs and outputs that came apart from the rest.
    pub(super) fn with(self, inputs: Option<ByteString>, outputs: Option<ByteString>) -> Self {
        Self { inputs: inputs.or(self.inputs), outputs: outputs.or(self.outputs), ..self }
    }

    /// As a new example; in the dataset that it names where none is given.
    pub(super) fn into_example(self, dataset: Option<DatasetId>, now: Timestamp) -> Result<Example, ApiError> {
        let nowhere = || ApiError::unprocessable("dataset_id", "is missing; name the dataset of the example");
        Ok(Example {
            id: self.id.unwrap_or_else(ExampleId::generate),
            dataset: dataset.or(self.dataset).ok_or_else(nowhere)?,
            inputs: self.inputs.unwrap_or_else(|| ByteString::from_static("{}")),
            outputs: self.outputs,
            metadata: self.metadata,
            splits: self.splits.unwrap_or_default(),
            source_run: self.source_run,
            created_at: self.created_at.unwrap_or(now),
            modified_at: now,
        })
    }

    /// As a change of an example, which has to be in the dataset, or in the one that it names.
    pub(super) fn into_change(self, id: ExampleId, dataset: Option<DatasetId>) -> ExampleChange {
        ExampleChange {
            id,
            dataset: dataset.or(self.dataset),
            inputs: self.inputs,
            outputs: self.outputs,
            metadata: self.metadata,
            splits: self.splits,
        }
    }
}

/// Metadata without its splits, as it comes back from a client that read it before, and the splits.
fn apart(metadata: ByteString, at: &str) -> Result<(Option<ByteString>, Option<Vec<String>>), ApiError> {
    let fields: Vec<_> = Fields::of(&metadata).into_iter().flatten().collect();
    let Some(splits) = fields.iter().rfind(|field| field.key == SPLITS) else { return Ok((Some(metadata), None)) };
    let splits = read::<Option<Split>>(splits.value, &format!("{at}.{SPLITS}"))?;
    let others: Vec<_> = fields.iter().filter(|field| field.key != SPLITS).map(|field| field.source).collect();
    Ok((Some(format!("{{{}}}", others.join(",")).into()), splits.map(Split::into_vec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATASET: DatasetId = DatasetId(uuid::Uuid::nil());

    fn example(json: &str) -> Result<Example, ApiError> {
        GivenExample::read(json, "body")?.into_example(Some(DATASET), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_sdks_example_is_read() {
        let newest = r#"{"id":"01a20a21-7cd8-7000-8000-02556ffdde73","created_at":"2026-11-25T14:45:10.103327+00:00",
            "inputs":{"q": 1.0},"outputs":{"a":"\u0041"},"metadata":{"k":1},"split":["a","b"],"use_source_run_io":false}"#;
        let read = example(newest).unwrap();
        assert_eq!((&*read.inputs, read.outputs.as_deref()), (r#"{"q": 1.0}"#, Some(r#"{"a":"\u0041"}"#)));
        assert_eq!((read.metadata.as_deref(), read.splits), (Some(r#"{"k":1}"#), vec!["a".to_owned(), "b".to_owned()]));
        let old = r#"{"inputs":{},"outputs":null,"dataset_id":null,"metadata":null,"split":"test","id":null}"#;
        let read = example(old).unwrap();
        assert_eq!((read.outputs, read.splits), (None, vec!["test".to_owned()]));
        assert_eq!(example("{}").unwrap().inputs, "{}");
    }

    #[test]
    fn splits_come_back_in_metadata() {
        let json = r#"{"inputs":{},"metadata":{"a": 1.0,"dataset_split":["x"],"b":"y"}}"#;
        let read = example(json).unwrap();
        assert_eq!((read.metadata.as_deref(), read.splits), (Some(r#"{"a": 1.0,"b":"y"}"#), vec!["x".to_owned()]));
        let both = r#"{"metadata":{"dataset_split":["x"]},"split":"y"}"#;
        let read = example(both).unwrap();
        assert_eq!((read.metadata.as_deref(), read.splits), (Some("{}"), vec!["y".to_owned()]));
    }

    #[test]
    fn what_makes_no_example_is_refused() {
        for wrong in [
            r#"{"inputs":[]}"#,
            r#"{"outputs":"a"}"#,
            r#"{"metadata":1}"#,
            r#"{"split":1}"#,
            r#"{"metadata":{"dataset_split":{}}}"#,
            r#"{"id":"x"}"#,
            r#"{"created_at":"x"}"#,
            r#"{"use_source_run_io":true}"#,
            r#"{"use_source_run_attachments":["a"]}"#,
            r#"{"attachments_operations":{"retain":["a"]}}"#,
            "[]",
            "{",
        ] {
            assert!(example(wrong).is_err(), "{wrong}");
        }
        let nowhere = GivenExample::read("{}", "body").unwrap();
        assert!(nowhere.into_example(None, Timestamp::UNIX_EPOCH).is_err());
    }
}
