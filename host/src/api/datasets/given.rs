//! A dataset as clients give it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::answer::ApiError;
use crate::api::body::{object, refuse, time};
use crate::model::Timestamp;
use crate::model::dataset::{DataType, Dataset};
use crate::model::ids::DatasetId;

/// The body of `POST /datasets`; what is not here is passed over.
#[derive(Deserialize)]
pub(super) struct GivenDataset<'a> {
    id: Option<DatasetId>,
    name: String,
    description: Option<String>,
    data_type: Option<String>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    extra: Option<Extra<'a>>,
    #[serde(borrow)]
    inputs_schema_definition: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs_schema_definition: Option<&'a RawValue>,
    transformations: Option<Value>,
}

/// Of this only the metadata comes back from LangSmith.
#[derive(Deserialize)]
struct Extra<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl GivenDataset<'_> {
    pub(super) fn into_dataset(self, now: Timestamp) -> Result<Dataset, ApiError> {
        if self.name.is_empty() {
            return Err(ApiError::unprocessable("name", "is empty; give the dataset one"));
        }
        refuse(self.transformations.as_ref(), "transformations")?;
        let data_type = self.data_type.as_deref().map(str::parse::<DataType>).transpose();
        let data_type = data_type.map_err(|error| ApiError::unprocessable("data_type", &error.to_string()))?;
        Ok(Dataset {
            id: self.id.unwrap_or_else(DatasetId::generate),
            name: self.name,
            description: self.description,
            data_type: data_type.unwrap_or_default(),
            inputs_schema: object(self.inputs_schema_definition, "inputs_schema_definition")?,
            outputs_schema: object(self.outputs_schema_definition, "outputs_schema_definition")?,
            metadata: object(self.extra.and_then(|extra| extra.metadata), "extra.metadata")?,
            created_at: time(self.created_at, "created_at")?.unwrap_or(now),
            modified_at: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::body::read;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn dataset(json: &str) -> Result<Dataset, ApiError> {
        read::<GivenDataset<'_>>(json, "body")?.into_dataset(NOW)
    }

    #[test]
    fn every_sdks_dataset_is_read() {
        let newest = r#"{"name":"d","data_type":"kv","transformations":null,
            "extra":{"metadata":{"runtime":{"x": 1.0}},"source":"sdk"},"description":"of","inputs_schema_definition":{}}"#;
        let read = dataset(newest).unwrap();
        assert_eq!((read.name.as_str(), read.description.as_deref()), ("d", Some("of")));
        assert_eq!(read.metadata.unwrap(), r#"{"runtime":{"x": 1.0}}"#);
        let old = r#"{"name":"d","data_type":"chat","created_at":"2026-11-25T14:45:10.103327","extra":null}"#;
        let read = dataset(old).unwrap();
        assert_eq!(
            (read.data_type, read.created_at.to_string().as_str()),
            (DataType::Chat, "2026-11-25T14:45:10.103327Z")
        );
        assert_eq!(dataset(r#"{"name":"d","extra":{"source":"sdk"}}"#).unwrap().metadata, None);
    }

    #[test]
    fn what_makes_no_dataset_is_refused() {
        for wrong in [
            r#"{"name":""}"#,
            r#"{"data_type":"kv"}"#,
            r#"{"name":"d","data_type":"csv"}"#,
            r#"{"name":"d","created_at":"yesterday"}"#,
            r#"{"name":"d","transformations":[{"path":["inputs"]}]}"#,
            r#"{"name":"d","inputs_schema_definition":[]}"#,
            r#"{"name":"d""#,
        ] {
            assert!(dataset(wrong).is_err(), "{wrong}");
        }
    }
}
