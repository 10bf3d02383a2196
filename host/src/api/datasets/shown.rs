//! A dataset as LangSmith's API shows it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::body::raw;
use crate::model::Timestamp;
use crate::model::ids::{DatasetId, WorkspaceId};
use crate::store::datasets::StoredDataset;

/// Keys as in LangSmith's `Dataset`. There are no experiments here, so nothing of them is ever counted.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: DatasetId,
    tenant_id: WorkspaceId,
    name: &'a str,
    description: Option<&'a str>,
    data_type: &'static str,
    created_at: Timestamp,
    modified_at: Timestamp,
    example_count: u64,
    session_count: u64,
    last_session_start_time: Option<Timestamp>,
    inputs_schema_definition: Option<&'a RawValue>,
    outputs_schema_definition: Option<&'a RawValue>,
    transformations: Option<()>,
    metadata: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(stored: &'a StoredDataset, tenant: WorkspaceId) -> Self {
        let dataset = &stored.dataset;
        Self {
            id: dataset.id,
            tenant_id: tenant,
            name: &dataset.name,
            description: dataset.description.as_deref(),
            data_type: dataset.data_type.as_str(),
            created_at: dataset.created_at,
            modified_at: dataset.modified_at,
            example_count: stored.examples,
            session_count: 0,
            last_session_start_time: None,
            inputs_schema_definition: dataset.inputs_schema.as_deref().and_then(raw),
            outputs_schema_definition: dataset.outputs_schema.as_deref().and_then(raw),
            transformations: None,
            metadata: dataset.metadata.as_deref().and_then(raw),
        }
    }
}
