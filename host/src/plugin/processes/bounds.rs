//! What an answer of a guest process may be: as large as an honest one can be. What is larger is not read.

use std::time::Duration;

use crate::plugin::guest_log::LINE_BYTES_MAX;
use crate::plugin::limits::PluginLimits;

/// What the host waits beyond the time that the guest has: its process ends it by itself.
const GRACE: Duration = Duration::from_secs(2);

/// What an answer may have beside what the guest may write.
const ANSWER_BYTES_MIN: u64 = 1024 * 1024;

/// What a head may have beside what the guest prints and logs: two fields of each of 50,000 runs are 2 MiB, the longest
/// headers 1 MiB.
const HEAD_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// What becomes of one byte at most: `\u{1b}`, with its backslash escaped for JSON.
const ESCAPED_BYTES: u64 = 7;

/// A line of the log is written with its level and the names of both.
const LINE_BYTES_MIN: u64 = 64;

/// What an answer may be.
pub(super) struct Bounds {
    pub(super) time: Duration,
    pub(super) head_bytes: u64,
    pub(super) answer_bytes: u64,
}

impl Bounds {
    pub(super) fn of(limits: &PluginLimits, payload_bytes: usize) -> Self {
        let time = limits.cpu(payload_bytes) * limits.wall_factor + GRACE;
        // One line more says that there are no more.
        let log = (limits.log_lines + 1) * (LINE_BYTES_MAX as u64 * ESCAPED_BYTES + LINE_BYTES_MIN);
        let head_bytes = HEAD_BYTES_MIN + limits.output_bytes as u64 * ESCAPED_BYTES + log;
        Self { time, head_bytes, answer_bytes: payload_bytes as u64 + limits.bytes_in + ANSWER_BYTES_MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{LargeField, RUNS_MAX};
    use crate::limits::{ERROR_TEXT_BYTES_MAX, PLUGIN_FRAMES_MAX};
    use crate::model::plugin::{PluginFailure, PluginFailureKind};
    use crate::plugin::guest_log::LogLine;
    use crate::plugin::processes::exchange::{Came, Said};
    use crate::plugin::sandbox::call::Usage;
    use crate::plugin::sandbox::host_output::{HEADER_BYTES_MAX, HEADERS_MAX};
    use crate::plugin::sandbox::output_ring::printable;
    use crate::plugin::workshop::message;

    /// What a guest has printed and logged that does its worst.
    fn usage(limits: &PluginLimits) -> Usage {
        let line = LogLine::new("debug", &"\x1b".repeat(LINE_BYTES_MAX));
        Usage {
            output: printable(&"\x1b".repeat(limits.output_bytes)),
            log: vec![line; limits.log_lines as usize + 1],
            frames: vec!["\\".repeat(1000); PLUGIN_FRAMES_MAX],
            ..Usage::default()
        }
    }

    fn failure() -> PluginFailure {
        PluginFailure {
            plugin: "any".parse().unwrap(),
            export: "configure".to_owned(),
            kind: PluginFailureKind::Refused,
            message: printable(&"\x1b".repeat(ERROR_TEXT_BYTES_MAX)),
        }
    }

    #[test]
    fn the_longest_honest_answers_are_read_and_longer_ones_are_not() {
        let limits = PluginLimits::default();
        let head_bytes = Bounds::of(&limits, 0).head_bytes;
        let runs = 0..RUNS_MAX as u32;
        let fields = runs.clone().flat_map(|place| LargeField::ALL.map(|field| (place, field))).collect();
        let header = ("x".repeat(HEADER_BYTES_MAX), "\"".repeat(HEADER_BYTES_MAX));
        let body = Came::Body { content_type: header.1.clone(), headers: vec![header; HEADERS_MAX] };
        for came in [Came::Needs(fields, failure()), Came::Kept(runs.collect()), body] {
            let said = Said { came: Ok(came), usage: usage(&limits) };
            let mut answer = Vec::new();
            message::write(&mut answer, &said, &[]).unwrap();
            message::read::<Said>(&mut answer.as_slice(), head_bytes, 0).unwrap();
        }
        let longer = (head_bytes as u32 + 1).to_le_bytes();
        let refused = message::read::<Said>(&mut longer.as_slice(), head_bytes, 0).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
    }

    #[test]
    fn lists_that_are_longer_than_any_honest_one_are_not_built() {
        let usage = serde_json::to_string(&Usage::default()).unwrap();
        let is_read = |came: &str, usage: &str| {
            serde_json::from_str::<Said>(&format!(r#"{{"came":{{"Ok":{came}}},"usage":{usage}}}"#)).is_ok()
        };
        let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
        let kept = |count| is_read(&format!(r#"{{"Kept":{}}}"#, list("0", count)), &usage);
        assert!(kept(RUNS_MAX) && !kept(RUNS_MAX + 1));
        let failure = serde_json::to_string(&failure()).unwrap();
        let needs = |count| is_read(&format!(r#"{{"Needs":[{},{failure}]}}"#, list(r#"[0,"Inputs"]"#, count)), &usage);
        assert!(needs(2 * RUNS_MAX) && !needs(2 * RUNS_MAX + 1));
        let headers = list(r#"["",""]"#, HEADERS_MAX + 1);
        assert!(!is_read(&format!(r#"{{"Body":{{"content_type":"","headers":{headers}}}}}"#), &usage));
        let framed = usage.replace(r#""frames":[]"#, &format!(r#""frames":{}"#, list(r#""""#, PLUGIN_FRAMES_MAX + 1)));
        let logged =
            usage.replace(r#""log":[]"#, &format!(r#""log":{}"#, list(r#"{"level":"","message":""}"#, 20_000)));
        for usage in [framed, logged] {
            assert!(!is_read(r#""Done""#, &usage));
        }
        assert!(is_read(r#""Done""#, &usage));
    }
}
