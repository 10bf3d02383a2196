//! OTel's ids as runhook's.
//!
//! A trace id is 16 bytes and a UUID as it is; a span id is 8 bytes and the lower half of a UUID whose upper half is zero,
//! as LangSmith has it. So a root's id differs from its trace's id, other than with LangSmith's own SDKs, and a child that
//! comes in another request than its parent still names it right.

use uuid::Uuid;

use super::span::{Fault, Reading};
use crate::model::ids::RunId;

/// The run of a span.
pub(super) fn run_of_span(span_id: u64) -> RunId {
    RunId(Uuid::from_u128(span_id.into()))
}

/// The trace of a trace id.
pub(super) fn run_of_trace(trace_id: u128) -> RunId {
    RunId(Uuid::from_u128(trace_id))
}

/// Judges a trace id; `len` is what was sent in place of 16 bytes.
pub(super) fn trace_id(id: Option<u128>, len: usize) -> Reading<u128> {
    match id {
        Some(0) => Err(Fault::new("its trace id is all zeros")),
        Some(id) => Ok(id),
        None => Err(Fault::new(format!("its trace id needs 16 bytes, in JSON 32 hex digits; it has {len}"))),
    }
}

/// Judges a span id, its own or its parent's.
pub(super) fn span_id(field: &str, id: Option<u64>, len: usize) -> Reading<u64> {
    match id {
        Some(0) => Err(Fault::new(format!("its {field} is all zeros"))),
        Some(id) => Ok(id),
        None => Err(Fault::new(format!("its {field} needs 8 bytes, in JSON 16 hex digits; it has {len}"))),
    }
}

/// Hex digits of either case, as OTLP/JSON has ids: `digits` of them or none.
pub(super) fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_id_is_padded_on_the_left() {
        assert_eq!(run_of_span(0xe8744e43_296272f5).to_string(), "00000000-0000-0000-e874-4e43296272f5");
        let trace = run_of_trace(0xf6930737025ed3202125649be3e48b28);
        assert_eq!(trace.to_string(), "f6930737-025e-d320-2125-649be3e48b28");
    }

    #[test]
    fn hex_is_of_one_length_and_of_either_case() {
        assert_eq!(hex("00Ff", 4), Some(255));
        for wrong in ["", "0ff", "00fff", "+0ff", "00fg", "0éf"] {
            assert_eq!(hex(wrong, 4), None, "{wrong}");
        }
    }
}
