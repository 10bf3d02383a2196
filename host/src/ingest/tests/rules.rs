//! How the parts of a body go together.

use super::*;
use crate::ingest::IngestError;
use crate::model::run::Layer;

fn named(kind: &str) -> String {
    match kind.split_once('.') {
        Some((layer, field)) => format!("{layer}.{ID}.{field}"),
        None => format!("{kind}.{ID}"),
    }
}

/// The documents of a body whose parts are all of one run.
async fn documents(parts: &[(&str, &str)]) -> Vec<String> {
    let parts: Vec<_> = parts.iter().map(|(kind, content)| (named(kind), *content)).collect();
    let parts: Vec<_> = parts.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    let batch = decode(&body(&parts)).await;
    assert_eq!((batch.refused.as_slice(), &batch.broken_off), (&[][..], &None));
    batch.runs.iter().map(|run| text(run).to_owned()).collect()
}

#[tokio::test]
async fn the_main_part_may_come_anywhere() {
    let parts = [("post", r#"{"name":"a"}"#), ("post.inputs", " [1.0] "), ("post.error", r#""x""#)];
    let expected = [r#"{"name":"a","inputs":[1.0],"error":"x"}"#];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(documents(&order.map(|index| parts[index])).await, expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_field_without_its_main_part_is_a_write_of_that_field() {
    assert_eq!(
        documents(&[("patch.outputs", "{}"), ("post.inputs", "1")]).await,
        [r#"{"outputs":{}}"#, r#"{"inputs":1}"#]
    );
}

#[tokio::test]
async fn nulls_say_nothing_wherever_they_stand() {
    assert_eq!(
        documents(&[("post", r#"{"name":null,"inputs":{"a":null}}"#), ("post.inputs", "null")]).await,
        [r#"{"inputs":{"a":null}}"#]
    );
    assert_eq!(documents(&[("post.inputs", "null")]).await, [""; 0]);
}

#[tokio::test]
async fn a_separate_field_is_preferred_to_one_within() {
    let (main, apart) = (("post", r#"{"extra":1,"error":"x","name":"a"}"#), ("post.extra", "2"));
    for parts in [[main, apart], [apart, main]] {
        assert_eq!(documents(&parts).await, [r#"{"name":"a","extra":2,"error":"x"}"#]);
    }
}

#[tokio::test]
async fn what_comes_twice_is_kept_in_order() {
    assert_eq!(
        documents(&[("post", r#"{"name":"a","name":"b"}"#), ("post.inputs", "1"), ("post.inputs", "2")]).await,
        [r#"{"name":"b","inputs":2}"#]
    );
    let parts = [("post", r#"{"name":"a"}"#), ("post.inputs", "1"), ("post", r#"{"name":"b"}"#), ("post.inputs", "2")];
    assert_eq!(documents(&parts).await, [r#"{"name":"a","inputs":1}"#, r#"{"name":"b","inputs":2}"#]);
}

#[tokio::test]
async fn errors_of_any_kind_become_text() {
    assert_eq!(documents(&[("post.error", r#"{"a":"b"}"#)]).await, [r#"{"error":"{\"a\":\"b\"}"}"#]);
    assert_eq!(documents(&[("post", r#"{"error":7}"#)]).await, [r#"{"error":"7"}"#]);
}

#[tokio::test]
async fn layers_and_runs_are_kept_apart_in_the_order_of_the_request() {
    let names = [format!("patch.{ID}"), format!("post.{OTHER_ID}"), format!("post.{ID}")];
    let parts = names.each_ref().map(|name| (name.as_str(), "{}"));
    let found: Vec<_> =
        decode(&body(&parts)).await.runs.into_iter().map(|run| (run.layer, run.id.to_string())).collect();
    assert_eq!(found, [(Layer::Patch, ID.into()), (Layer::Post, OTHER_ID.into()), (Layer::Post, ID.into())]);
}

#[tokio::test]
async fn bad_parts_are_named_and_the_good_ones_stay() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let names = [
        (format!("post.{ID}"), r#"{"name":"a"}"#, ""),
        (format!("post.{ID}.inputs"), "{bad", "line 1 column 2"),
        (format!("post.{ID}.outputs"), deep.as_str(), "123 levels"),
        (format!("post.{ID}.events"), "\u{1}", "line 1"),
        (format!("post.{ID}.tags"), "[]", "`tags` is no field"),
        (format!("patch.{ID}"), r#"{"end_time":"never"}"#, "`end_time`"),
        (format!("post.{OTHER_ID}"), &format!(r#"{{"id":"{ID}"}}"#), OTHER_ID),
        ("patch.7".to_owned(), "{}", "`7`"),
        (format!("feedback.{ID}"), "{}", "`key`"),
        (format!("attachment.{ID}.a.b"), "", "no dot"),
        ("\u{7f}\u{fffd}".to_owned(), "", "parts are named"),
    ];
    let parts: Vec<_> = names.iter().map(|(name, content, _)| (name.as_str(), *content)).collect();
    let batch = decode(&body(&parts)).await;
    assert_eq!(batch.runs.iter().map(text).collect::<Vec<_>>(), [r#"{"name":"a"}"#]);
    assert_eq!((batch.refused.len(), batch.broken_off), (10, None));
    for (refused, (name, _, expected)) in batch.refused.iter().zip(&names[1..]) {
        assert_eq!(&refused.name, name);
        assert!(refused.reason.contains(expected), "{name}: {}", refused.reason);
    }
}

#[tokio::test]
async fn parts_without_a_name_are_counted() {
    let raw = format!(
        "{DELIMITER}\r\n\r\nx\r\n{DELIMITER}\r\nno blank line\r\n{DELIMITER}\r\nContent-Encoding: gzip\r\n\
                       Content-Disposition: form-data; name=\"post.{ID}.inputs\"\r\n\r\n{{}}\r\n{DELIMITER}--"
    );
    let refused = decode(raw.as_bytes()).await.refused;
    assert_eq!(
        refused.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(),
        ["part[0]", "part[1]", &format!("post.{ID}.inputs")]
    );
    assert!(refused[2].reason.contains("compressed on its own"));
}

#[tokio::test]
async fn parts_have_their_own_bounds() {
    let limits = IngestLimits { json_part_bytes_max: 10, attachment_bytes_max: 20, parts_max: 100 };
    let names = [format!("post.{ID}.inputs"), format!("attachment.{ID}.a")];
    let content = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let refused = async |json: usize, file: usize| {
        let body = body(&[(&names[0], &content(json)), (&names[1], &content(file))]);
        let batch = decode_chunks(CONTENT_TYPE, body.chunks(1000), Encoding::Identity, limits).await;
        assert_eq!(batch.refused.len() + batch.runs.len() + batch.attachments.len(), 2);
        batch.refused.into_iter().map(|part| part.name).collect::<Vec<_>>()
    };
    assert_eq!(refused(10, 20).await, [""; 0]);
    assert_eq!(refused(11, 20).await, [names[0].as_str()]);
    assert_eq!(refused(10, 21).await, [names[1].as_str()]);
    assert_eq!(refused(1 << 20, 1 << 20).await, names);
}

#[tokio::test]
async fn large_parts_are_decoded_like_small_ones() {
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    let batch = decode(&body(&[(&format!("post.{ID}.inputs"), &large), (&format!("post.{ID}.outputs"), "1")])).await;
    assert_eq!(text(&batch.runs[0]), format!(r#"{{"inputs":{large},"outputs":1}}"#));
}

#[tokio::test]
async fn other_content_types_are_refused_at_once() {
    let refusal =
        async |content_type: &str| multipart(content_type, stream::empty(), IngestLimits::default()).await.unwrap_err();
    assert!(matches!(refusal("application/json").await, IngestError::NotMultipart(_)));
    assert!(matches!(refusal("").await, IngestError::NotMultipart(_)));
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for content_type in ["multipart/form-data", "multipart/form-data; boundary=\"\"", &long] {
        assert!(matches!(refusal(content_type).await, IngestError::NoBoundary(_)), "{content_type}");
    }
}
