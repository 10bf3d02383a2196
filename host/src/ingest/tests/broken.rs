//! Bodies that break off or mean harm: nothing panics, and no part that was complete is lost.

use super::*;
use crate::ingest::IngestError;
use crate::intake::BodyError;

/// Parts of a small body of every kind.
fn small_parts() -> Vec<String> {
    vec![
        part(&format!("post.{ID}"), r#"{"name":"a"}"#),
        part(&format!("post.{ID}.inputs"), r#"{"q":"-"}"#),
        part(&format!("attachment.{ID}.a"), "--\r\n--"),
        part(&format!("patch.{OTHER_ID}"), "{}"),
        part("x", ""),
        part(&format!("feedback.{ID}"), r#"{"key":"k"}"#),
    ]
}

/// What makes two batches differ, but for the ids that are made.
fn brought(batch: &Batch) -> (Vec<&str>, usize, usize, usize) {
    (batch.runs.iter().map(text).collect(), batch.attachments.len(), batch.refused.len(), batch.feedback.len())
}

#[tokio::test]
async fn a_body_cut_at_any_byte_keeps_its_complete_parts() {
    let parts = small_parts();
    let whole = format!("{}{DELIMITER}--", parts.concat());
    // A part is complete once the delimiter behind it is, with what follows it.
    let mut ends = Vec::new();
    for part in &parts {
        ends.push(ends.last().map_or(DELIMITER.len() + 2, |end| *end) + part.len());
    }
    for cut in 0..whole.len() {
        let complete = ends.iter().filter(|end| **end <= cut).count();
        let batch = decode(&whole.as_bytes()[..cut]).await;
        let kept = format!("{}{DELIMITER}--", parts[..complete].concat());
        assert_eq!(brought(&batch), brought(&decode(kept.as_bytes()).await), "cut at {cut}");
        assert_eq!(batch.broken_off, Some(IngestError::CutShort { parts: complete }));
    }
    assert_eq!(decode(whole.as_bytes()).await.broken_off, None);
}

#[tokio::test]
async fn a_compressed_body_cut_at_any_byte_keeps_what_can_be_decoded() {
    let whole = format!("{}{DELIMITER}--", small_parts().concat());
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let packed = pack(whole.as_bytes(), encoding).await;
        let mut parts_before = 0;
        for cut in 0..packed.len() {
            let batch = decode_chunks(CONTENT_TYPE, [&packed[..cut]], encoding, IngestLimits::default()).await;
            let parts = batch.runs.len() + batch.attachments.len() + batch.refused.len() + batch.feedback.len();
            assert!(parts >= parts_before && batch.broken_off.is_some(), "{encoding:?} cut at {cut}");
            parts_before = parts;
        }
    }
}

#[tokio::test]
async fn a_long_compressed_body_cut_in_the_middle_keeps_what_came_before() {
    let parts: String = (0..2000)
        .map(|index| part(&format!("post.{}", uuid::Uuid::now_v7()), &format!(r#"{{"name":"{index}"}}"#)))
        .collect();
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let packed = pack(parts.as_bytes(), encoding).await;
        let batch =
            decode_chunks(CONTENT_TYPE, packed[..packed.len() / 2].chunks(1000), encoding, IngestLimits::default())
                .await;
        assert!(batch.runs.len() > 500, "{encoding:?}: {}", batch.runs.len());
        assert!(matches!(batch.broken_off, Some(IngestError::Body(BodyError::Unreadable(_)))));
    }
}

#[tokio::test]
async fn bombs_stop_at_the_cap_and_keep_what_came_before() {
    let good = part(&format!("post.{ID}"), "{}");
    let bomb = [good.into_bytes(), part(&format!("post.{ID}.inputs"), "").into_bytes(), vec![b' '; 64 << 20]].concat();
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let packed = pack(&bomb, encoding).await;
        assert!(packed.len() < 100_000);
        let batch = decode_chunks(CONTENT_TYPE, [packed.as_slice()], encoding, IngestLimits::default()).await;
        assert_eq!(batch.runs.iter().map(text).collect::<Vec<_>>(), ["{}"]);
        assert_eq!(batch.broken_off, Some(IngestError::Body(BodyError::TooLarge(32 << 20))));
    }
}

#[tokio::test]
async fn a_million_tiny_parts_stop_at_the_cap() {
    let many = format!("{DELIMITER}\r\n\r\n\r\n").repeat(500_000);
    let batch = decode(many.as_bytes()).await;
    assert_eq!(batch.broken_off, Some(IngestError::TooManyParts(10_000)));
    assert_eq!(batch.refused.len(), 10_000);
}

#[tokio::test]
async fn what_only_looks_like_a_boundary_is_content() {
    let content = format!("\r\n{DELIMITER}x\r\n{DELIMITER}-\r\n-{DELIMITER}--\n{DELIMITER}\r\r\n-{DELIMITER}--");
    let batch = decode(&body(&[(&format!("attachment.{ID}.a"), &content)])).await;
    assert_eq!(batch.attachments[0].bytes, content);
    assert_eq!((batch.refused.len(), batch.broken_off), (0, None));
}

#[tokio::test]
async fn false_lengths_change_nothing() {
    let body = String::from_utf8(body(&[(&format!("post.{ID}.inputs"), "{}")])).unwrap();
    for length in ["0", "1", "99999999999999999999", "-1", "x"] {
        let batch = decode(body.replace("Content-Length: 2", &format!("Content-Length: {length}")).as_bytes()).await;
        assert_eq!(text(&batch.runs[0]), r#"{"inputs":{}}"#);
    }
}

#[tokio::test]
async fn behind_the_last_boundary_nothing_counts_but_the_encoding() {
    let mut closed = body(&[(&format!("post.{ID}"), "{}")]);
    let mut packed = pack(&closed, Encoding::Gzip).await;
    closed.extend(body(&[(&format!("post.{OTHER_ID}"), "{}")]));
    let batch = decode(&closed).await;
    assert_eq!((batch.runs.len(), batch.broken_off), (1, None));
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    let batch = decode_chunks(CONTENT_TYPE, [packed.as_slice()], Encoding::Gzip, IngestLimits::default()).await;
    assert!(batch.runs.len() == 1 && batch.broken_off.is_some());
}
