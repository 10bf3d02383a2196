//! Batches and single runs as JSON.

use super::*;
use crate::ingest::{IngestError, batch, single};
use crate::model::ids::RunId;
use crate::model::run::Layer;

#[test]
fn bad_elements_are_named_by_their_place() {
    let text = format!(
        r#"{{"post":[{{"id":"{ID}"}},1,{{"name":"x"}},{{"id":"{OTHER_ID}","tags":[1]}}],"x":[],"patch":[[],{{"id":"{ID}","a":{{"b": 1.0}},"c":null}}]}}"#
    );
    let decoded = batch(text.as_bytes()).unwrap();
    let runs: Vec<_> = decoded.runs.iter().map(|run| (run.layer, super::text(run))).collect();
    assert_eq!(
        runs,
        [
            (Layer::Post, format!(r#"{{"id":"{ID}"}}"#).as_str()),
            (Layer::Patch, format!(r#"{{"id":"{ID}","a":{{"b": 1.0}}}}"#).as_str()),
        ]
    );
    let refused: Vec<_> = decoded.refused.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(refused, ["post[1]", "post[2]", "post[3]", "x", "patch[0]"]);
    assert!(decoded.refused[2].reason.contains("`tags`"));
}

#[test]
fn what_is_no_batch_is_refused_whole() {
    for text in ["", "[]", "{\"post\":[", "{\"post\":[]}x", "null"] {
        assert!(matches!(batch(text.as_bytes()), Err(IngestError::Document(_))), "{text}");
    }
    assert_eq!(batch(b"{}").unwrap(), Batch::default());
    assert_eq!(batch(br#"{"post":null,"patch":[]}"#).unwrap(), Batch::default());
    assert_eq!(batch(br#"{"post":{}}"#).unwrap().refused[0].name, "post");
}

#[test]
fn too_many_or_too_deep_is_told() {
    let many = format!("{{\"post\":[{}1]}}", "1,".repeat(1_000_000));
    assert_eq!(batch(many.as_bytes()), Err(IngestError::TooManyParts(10_000)));
    let deep = format!("{{\"post\":[{{\"id\":\"{ID}\"}},{}1{}]}}", "[".repeat(100_000), "]".repeat(100_000));
    let decoded = batch(deep.as_bytes()).unwrap();
    assert_eq!((decoded.runs.len(), decoded.refused.len()), (1, 1));
    let nested = |levels: usize| format!("{{\"id\":\"{ID}\",\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(single(Layer::Post, None, nested(123).into()).is_ok());
    assert!(single(Layer::Post, None, nested(124).into()).unwrap_err().to_string().contains("124 levels"));
}

#[test]
fn a_documents_depth_leaves_room_for_the_payload_around_it() {
    let nested = format!("{{\"id\":\"{ID}\",\"a\":{}{}}}", "[".repeat(123), "]".repeat(123));
    let run = single(Layer::Post, None, nested.into()).unwrap().runs.remove(0);
    let payload = format!("{{\"runs\":[{}]}}", super::text(&run));
    assert!(serde_json::from_str::<Value>(&payload).is_ok());
}

#[test]
fn the_paths_id_counts() {
    let id: RunId = ID.parse().unwrap();
    let decoded = single(Layer::Patch, Some(id), Bytes::from_static(br#"{"id":null,"outputs":1}"#)).unwrap();
    assert_eq!((decoded.runs[0].id, super::text(&decoded.runs[0])), (id, r#"{"outputs":1}"#));
    let other = Bytes::from(format!(r#"{{"id":"{OTHER_ID}"}}"#));
    let error = single(Layer::Patch, Some(id), other).unwrap_err().to_string();
    assert!(error.contains(ID) && error.contains(OTHER_ID), "{error}");
    assert!(single(Layer::Post, None, Bytes::from_static(b"{}")).unwrap_err().to_string().contains("`id` is missing"));
}
