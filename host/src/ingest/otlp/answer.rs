//! Answers in the request's encoding. Knows no spans.
//!
//! Source: opentelemetry-proto `docs/specification.md`, "OTLP/HTTP Response": 200 with an `ExportTraceServiceResponse`,
//! which has `partial_success` only where something was rejected; 4xx and 5xx with a `google.rpc.Status`.

use serde_json::json;

use super::{Encoding, RejectedSpan};

/// How many rejected spans the message names.
const NAMED_MAX: usize = 5;

/// The body of a 200: `ExportTraceServiceResponse`. Clients send nothing again that it says was rejected.
pub fn response(encoding: Encoding, rejected: &[RejectedSpan]) -> Vec<u8> {
    let message = message(rejected);
    match (encoding, rejected.len()) {
        (Encoding::Protobuf, 0) => Vec::new(),
        (Encoding::Json, 0) => b"{}".to_vec(),
        (Encoding::Protobuf, count) => {
            let mut partial_success = Vec::new();
            put_number(&mut partial_success, 1, count as u64);
            put_bytes(&mut partial_success, 2, message.as_bytes());
            let mut response = Vec::new();
            put_bytes(&mut response, 1, &partial_success);
            response
        }
        (Encoding::Json, count) => {
            let partial_success = json!({ "rejectedSpans": count.to_string(), "errorMessage": message });
            json!({ "partialSuccess": partial_success }).to_string().into_bytes()
        }
    }
}

/// The body of a 4xx or 5xx: `google.rpc.Status` with its message only; OTLP leaves the code to HTTP.
pub fn failure(encoding: Encoding, message: &str) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => {
            let mut status = Vec::new();
            put_bytes(&mut status, 2, message.as_bytes());
            status
        }
        Encoding::Json => json!({ "message": message }).to_string().into_bytes(),
    }
}

fn message(rejected: &[RejectedSpan]) -> String {
    let named = rejected.iter().take(NAMED_MAX).map(|span| format!("{}: {}", span.span, span.reason));
    let mut message = named.collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = rejected.len().checked_sub(NAMED_MAX) {
        message.push_str(&format!("; and {more} more"));
    }
    message
}

fn put_bytes(into: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    into.push(field << 3 | 2);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn put_number(into: &mut Vec<u8>, field: u8, number: u64) {
    into.push(field << 3);
    put_varint(into, number);
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(count: usize) -> Vec<RejectedSpan> {
        (0..count).map(|at| RejectedSpan { span: format!("s{at}"), reason: "has no id".to_owned() }).collect()
    }

    #[test]
    fn a_full_success_has_no_partial_success() {
        assert_eq!(response(Encoding::Protobuf, &[]), b"");
        assert_eq!(response(Encoding::Json, &[]), b"{}");
    }

    #[test]
    fn a_partial_success_counts_and_explains() {
        let text = String::from_utf8(response(Encoding::Json, &rejected(1))).unwrap();
        assert_eq!(text, r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"s0: has no id"}}"#);
        let bytes = response(Encoding::Protobuf, &rejected(1));
        assert_eq!(bytes, [&[0x0a, 17, 0x08, 1, 0x12, 13], &b"s0: has no id"[..]].concat());
    }

    #[test]
    fn many_rejections_make_no_long_message() {
        let text = message(&rejected(300));
        assert!(text.ends_with("s4: has no id; and 295 more"), "{text}");
        assert_eq!(message(&rejected(5)).matches(';').count(), 4);
        let bytes = response(Encoding::Protobuf, &rejected(300));
        assert_eq!(bytes[2..5], [0x08, 0xac, 0x02]);
    }

    #[test]
    fn a_failure_is_a_status() {
        assert_eq!(failure(Encoding::Protobuf, "no"), [0x12, 2, b'n', b'o']);
        assert_eq!(failure(Encoding::Json, "no"), br#"{"message":"no"}"#);
    }
}
