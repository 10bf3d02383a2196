//! A rule as LangSmith's two APIs show it: our fields, and those of LangSmith's that every rule has there.
//!
//! The values that are added are the ones that mean "not used", so that what is shown can be sent back.

use serde_json::{Map, Value, json};

use crate::definition;
use crate::model::ids::WorkspaceId;
use crate::model::rule::Rule;

/// `RunRulesSchema` of LangSmith's OpenAPI document.
pub(super) fn first(rule: &Rule, workspace: WorkspaceId) -> Value {
    let mut fields = shown(rule, workspace);
    for key in ["dataset_id", "dataset_name", "group_by", "alerts", "evaluators"] {
        fields.entry(key).or_insert(Value::Null);
    }
    Value::Object(fields)
}

/// `Rule` of the second API: projects by that name (Python SDK 0.15, `types/rule.py`).
pub(super) fn second(rule: &Rule, workspace: WorkspaceId) -> Value {
    let mut fields = shown(rule, workspace);
    for (old, new) in [("session_id", "project_id"), ("session_name", "project_name")] {
        let value = fields.remove(old).unwrap_or_default();
        fields.insert(new.to_owned(), value);
    }
    Value::Object(fields)
}

fn shown(rule: &Rule, workspace: WorkspaceId) -> Map<String, Value> {
    let Value::Object(mut fields) = definition::show(rule) else { return Map::new() };
    fields.insert("tenant_id".to_owned(), json!(workspace));
    // Of evaluators, which runhook does not have; the SDK's models want a number.
    fields.insert("evaluator_version".to_owned(), json!(0));
    for key in UNUSED {
        fields.insert((*key).to_owned(), Value::Bool(false));
    }
    fields
}

/// What the SDK's models require to be true or false.
const UNUSED: &[&str] = &[
    "add_to_dataset_prefer_correction",
    "use_corrections_dataset",
    "extend_only",
    "transient",
    "is_managed_evaluator",
    "is_tracing_disabled",
];
