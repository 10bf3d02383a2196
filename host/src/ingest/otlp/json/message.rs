//! The shapes of OTLP/JSON's messages, as far as they are read. All fields can be absent or null.
//!
//! What holds spans is kept as text. Recursion through lists and maps is bounded by serde_json's limit of 128 levels.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::number::{Int, double};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestText<'a> {
    #[serde(borrow)]
    pub(super) resource_spans: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpansText<'a> {
    #[serde(borrow)]
    pub(super) resource: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) scope_spans: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
pub(super) struct ScopeSpansText<'a> {
    #[serde(borrow)]
    pub(super) scope: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) spans: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OwnerText<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) attributes: Option<Vec<PairText<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpanText<'a> {
    #[serde(borrow)]
    pub(super) trace_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) span_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) parent_span_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) start_time_unix_nano: Option<Int>,
    pub(super) end_time_unix_nano: Option<Int>,
    #[serde(borrow)]
    pub(super) attributes: Option<Vec<PairText<'a>>>,
    #[serde(borrow)]
    pub(super) events: Option<Vec<EventText<'a>>>,
    #[serde(borrow)]
    pub(super) status: Option<StatusText<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventText<'a> {
    pub(super) time_unix_nano: Option<Int>,
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) attributes: Option<Vec<PairText<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct StatusText<'a> {
    pub(super) code: Option<Int>,
    #[serde(borrow)]
    pub(super) message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct PairText<'a> {
    #[serde(borrow)]
    pub(super) key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) value: Option<ValueText<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValueText<'a> {
    #[serde(borrow)]
    pub(super) string_value: Option<Cow<'a, str>>,
    pub(super) bool_value: Option<bool>,
    pub(super) int_value: Option<Int>,
    #[serde(default, deserialize_with = "double")]
    pub(super) double_value: Option<f64>,
    #[serde(borrow)]
    pub(super) array_value: Option<ListText<'a>>,
    #[serde(borrow)]
    pub(super) kvlist_value: Option<MapText<'a>>,
    /// Base64, and so it stays.
    #[serde(borrow)]
    pub(super) bytes_value: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct ListText<'a> {
    #[serde(borrow)]
    pub(super) values: Option<Vec<ValueText<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct MapText<'a> {
    #[serde(borrow)]
    pub(super) values: Option<Vec<PairText<'a>>>,
}
