//! Where a span stands in its trace: the parent's run id, and the dotted order where it can be known.
//!
//! OTLP says only the parent's span id, and children come before parents, in other requests too. That suffices for the
//! tree: readers derive it from `trace_id` and `parent_run_id`. A dotted order needs every ancestor's start, so it is
//! written where all of them up to the root are in the request, or up to one with a `langsmith.span.dotted_order`; else
//! it is left out. A segment has the id of its run: the first is the root's, not the trace's (see [`super::ids`]).

use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;

use super::ids::run_of_span;
use super::time::compact;
use crate::model::ids::RunId;
use crate::model::run::{Layer, RunWrite};

/// How far up ancestors are looked for. Ends cycles too.
const ANCESTORS_MAX: usize = 64;

/// What the dotted orders of one request take together, in bytes. Those beyond are left out: each has all ancestors in it,
/// so that they grow faster than the request.
const ORDERS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The longest `langsmith.span.dotted_order`; all descendants repeat it.
pub(super) const GIVEN_ORDER_BYTES_MAX: usize = 4096;

/// A run that is mapped, but for its place in the tree.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: RunId,
    pub(super) trace: RunId,
    /// The OTel span: trace id, span id.
    pub(super) span: (u128, u64),
    pub(super) parent: DraftParent,
    pub(super) start_nanos: u64,
    /// As the client gave it; at most [`GIVEN_ORDER_BYTES_MAX`].
    pub(super) dotted_order: Option<String>,
    /// A JSON object, never empty, without what is said of the place.
    pub(super) document: Vec<u8>,
}

/// What a span says of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DraftParent {
    Root,
    /// By span id, in the same OTel trace.
    Span(u64),
    /// By run id: `langsmith.span.parent_id`.
    Run(RunId),
}

/// The parent as a run, and its index in the request where it is there.
#[derive(Clone, Copy, Debug)]
struct Parent {
    id: RunId,
    index: Option<usize>,
}

#[derive(Serialize)]
struct Place {
    id: RunId,
    trace_id: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_run_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dotted_order: Option<String>,
}

/// Finishes the drafts, in their order.
pub(super) fn placed(drafts: Vec<Draft>) -> Vec<RunWrite> {
    let parents = parents(&drafts);
    let mut bytes_left = ORDERS_BYTES_MAX;
    let mut order = |index| {
        let order = dotted_order(&drafts, &parents, index)?;
        bytes_left = bytes_left.checked_sub(order.len())?;
        Some(order)
    };
    let orders: Vec<_> = (0..drafts.len()).map(&mut order).collect();
    let places = parents.into_iter().zip(orders);
    drafts.into_iter().zip(places).map(|(draft, (parent, order))| write(draft, parent, order)).collect()
}

fn parents(drafts: &[Draft]) -> Vec<Option<Parent>> {
    let spans: HashMap<_, _> = drafts.iter().enumerate().map(|(index, draft)| (draft.span, index)).collect();
    let runs: HashMap<_, _> =
        drafts.iter().enumerate().map(|(index, draft)| ((draft.trace, draft.id), index)).collect();
    let parent = |draft: &Draft| match draft.parent {
        DraftParent::Root => None,
        DraftParent::Run(id) => Some(Parent { id, index: runs.get(&(draft.trace, id)).copied() }),
        DraftParent::Span(span_id) => {
            let index = spans.get(&(draft.span.0, span_id)).copied();
            let run = index.and_then(|index| drafts.get(index)).map(|draft| draft.id);
            Some(Parent { id: run.unwrap_or_else(|| run_of_span(span_id)), index })
        }
    };
    drafts.iter().map(parent).collect()
}

fn dotted_order(drafts: &[Draft], parents: &[Option<Parent>], index: usize) -> Option<String> {
    let mut segments = Vec::new();
    let mut at = index;
    for _ in 0..ANCESTORS_MAX {
        let draft = drafts.get(at)?;
        let segment = || compact(draft.start_nanos).map(|start| format!("{start}{}", draft.id));
        segments.push(draft.dotted_order.clone().or_else(segment)?);
        match parents.get(at)? {
            Some(parent) if draft.dotted_order.is_none() => at = parent.index?,
            _ => {
                segments.reverse();
                return Some(segments.join("."));
            }
        }
    }
    None
}

/// The place goes in front of the document's own members.
fn write(draft: Draft, parent: Option<Parent>, dotted_order: Option<String>) -> RunWrite {
    let parent_run_id = parent.map(|parent| parent.id);
    let place = Place { id: draft.id, trace_id: draft.trace, parent_run_id, dotted_order };
    // Ids and text: this cannot fail.
    let mut document = serde_json::to_vec(&place).unwrap_or_default();
    document.pop();
    document.push(b',');
    document.extend_from_slice(draft.document.strip_prefix(b"{").unwrap_or_default());
    RunWrite { id: draft.id, layer: Layer::Post, document: Bytes::from(document) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn draft(span_id: u64, parent: DraftParent) -> Draft {
        Draft {
            id: run_of_span(span_id),
            trace: run_of_span(99),
            span: (99, span_id),
            parent,
            start_nanos: 1_767_323_045_000_000_000 + span_id * 1000,
            dotted_order: None,
            document: br#"{"name":"n"}"#.to_vec(),
        }
    }

    fn documents(drafts: Vec<Draft>) -> Vec<Value> {
        placed(drafts).iter().map(|write| serde_json::from_slice(&write.document).unwrap()).collect()
    }

    fn order(span_ids: &[u64]) -> String {
        let segments = span_ids.iter().map(|id| format!("20260102T0304050000{id:02}Z{}", run_of_span(*id)));
        segments.collect::<Vec<_>>().join(".")
    }

    #[test]
    fn a_child_before_its_parent_has_its_order() {
        let drafts = vec![draft(3, DraftParent::Span(2)), draft(1, DraftParent::Root), draft(2, DraftParent::Span(1))];
        let documents = documents(drafts);
        assert_eq!(documents[0]["dotted_order"], order(&[1, 2, 3]));
        assert_eq!(documents[0]["parent_run_id"], run_of_span(2).to_string());
        assert_eq!(documents[1]["dotted_order"], order(&[1]));
        assert!(documents[1].get("parent_run_id").is_none());
        assert_eq!(documents[1]["name"], "n");
    }

    #[test]
    fn where_an_ancestor_is_elsewhere_the_order_is_left_out() {
        let documents = documents(vec![draft(3, DraftParent::Span(2)), draft(2, DraftParent::Span(1))]);
        assert!(documents.iter().all(|document| document.get("dotted_order").is_none()));
        assert_eq!(documents[1]["parent_run_id"], run_of_span(1).to_string());
    }

    #[test]
    fn children_name_the_run_that_their_parent_became() {
        let mut parent = draft(1, DraftParent::Root);
        parent.id = RunId::generate();
        parent.dotted_order = Some("20260101T000000000000Zx".to_owned());
        let id = parent.id;
        let documents = documents(vec![draft(2, DraftParent::Span(1)), draft(3, DraftParent::Run(id)), parent]);
        for (document, span_id) in documents.iter().zip([2, 3]) {
            assert_eq!(document["parent_run_id"], id.to_string());
            assert_eq!(document["dotted_order"], format!("20260101T000000000000Zx.{}", order(&[span_id])));
        }
        assert_eq!(documents[2]["dotted_order"], "20260101T000000000000Zx");
    }

    #[test]
    fn orders_beyond_their_bound_are_left_out() {
        let mut root = draft(1, DraftParent::Root);
        root.dotted_order = Some("x".repeat(GIVEN_ORDER_BYTES_MAX));
        let children = (0..20_000).map(|id| draft(id + 2, DraftParent::Span(1)));
        let documents = documents(std::iter::once(root).chain(children).collect());
        let orders = documents.iter().filter_map(|document| document["dotted_order"].as_str());
        let bytes: Vec<_> = orders.map(str::len).collect();
        assert!(bytes.iter().sum::<usize>() <= ORDERS_BYTES_MAX && bytes.len() > 8000, "{}", bytes.len());
        assert!(documents.iter().skip(1).all(|document| document["parent_run_id"].is_string()));
    }

    #[test]
    fn a_cycle_ends() {
        let drafts =
            vec![draft(1, DraftParent::Span(2)), draft(2, DraftParent::Span(1)), draft(3, DraftParent::Span(3))];
        assert!(documents(drafts).iter().all(|document| document.get("dotted_order").is_none()));
    }

    #[test]
    fn a_chain_longer_than_the_bound_keeps_its_parents() {
        let chain = (1..=99).map(|id| draft(id, if id == 1 { DraftParent::Root } else { DraftParent::Span(id - 1) }));
        let documents = documents(chain.collect());
        assert_eq!(documents[63]["dotted_order"].as_str().unwrap().split('.').count(), 64);
        assert!(documents[64].get("dotted_order").is_none());
        assert_eq!(documents[98]["parent_run_id"], run_of_span(98).to_string());
    }
}
