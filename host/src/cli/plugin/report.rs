//! What `plugin test` prints, as text from plain values.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::cli::table::table;
use crate::plugin::{PluginLimits, TrialOutcome, TrialReport, Usage};

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// What would be sent, as a difference to the payload where it still is one.
pub(super) fn outcome(report: &TrialReport, payload: &Bytes, is_colored: bool) -> String {
    let mut text = String::new();
    match &report.result {
        Ok(TrialOutcome::Payload(made, runs)) => {
            let _ = writeln!(text, "keeps {runs} of {} runs", report.runs_before);
            if made == payload {
                text.push_str("changes nothing: the payload goes on byte for byte\n");
            } else {
                text.push_str(&difference(&pretty(payload), &pretty(made), is_colored));
            }
        }
        Ok(TrialOutcome::Body(body)) => {
            let _ = writeln!(text, "renders {} bytes of {}", body.bytes.len(), body.content_type);
            for (name, value) in &body.headers {
                let _ = writeln!(text, "{name}: {value}");
            }
            let _ = writeln!(text, "\n{}", pretty(&body.bytes));
        }
        Ok(TrialOutcome::NoRuns) => {
            let _ = writeln!(text, "keeps 0 of {} runs: nothing would be sent", report.runs_before);
        }
        Ok(TrialOutcome::NothingToSend) => text.push_str("has nothing to send\n"),
        Err(failure) => {
            let _ = writeln!(text, "FAILED in `{}`: {}", failure.export, failure.message);
        }
    }
    let output = report.usage.output.trim_end();
    if !output.is_empty() {
        let _ = writeln!(text, "\nit printed:\n{output}");
    }
    text
}

/// Each figure beside its limit.
pub(super) fn usage(usage: &Usage, limits: &PluginLimits) -> String {
    let milliseconds = |time: std::time::Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let mebibytes = |bytes: u64| format!("{:.2} MiB", bytes as f64 / 1_048_576.0);
    let row = |cells: [String; 3]| cells.to_vec();
    let rows = [
        row(["CPU time".into(), milliseconds(usage.cpu), milliseconds(usage.cpu_max)]),
        row(["memory".into(), mebibytes(usage.memory_bytes as u64), mebibytes(limits.memory_bytes as u64)]),
        row(["host calls".into(), usage.host_calls.to_string(), limits.host_calls.to_string()]),
        row(["read".into(), mebibytes(usage.bytes_out), mebibytes(limits.bytes_out)]),
        row(["written".into(), mebibytes(usage.bytes_in), mebibytes(limits.bytes_in)]),
    ];
    format!("\n{}", table(&["USED", "", "OF"], &rows))
}

/// JSON one value per line, so that a difference is small; anything else as it is.
fn pretty(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => format!("{value:#}\n"),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn difference(before: &str, after: &str, is_colored: bool) -> String {
    let mut text = String::new();
    let diff = TextDiff::from_lines(before, after);
    for (index, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            text.push_str("  ...\n");
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let (sign, color) = match change.tag() {
                ChangeTag::Delete => ("- ", "\x1b[31m"),
                ChangeTag::Insert => ("+ ", "\x1b[32m"),
                ChangeTag::Equal => ("  ", ""),
            };
            let line = change.value().trim_end_matches('\n');
            let is_painted = is_colored && !color.is_empty();
            let _ =
                if is_painted { writeln!(text, "{color}{sign}{line}\x1b[0m") } else { writeln!(text, "{sign}{line}") };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(made: &'static str) -> TrialReport {
        let result = Ok(TrialOutcome::Payload(Bytes::from_static(made.as_bytes()), 1));
        TrialReport { result, usage: Usage::default(), runs_before: 2 }
    }

    #[test]
    fn a_change_is_shown_by_its_lines() {
        let payload = Bytes::from_static(br#"{"runs":[{"id":"1","a":1,"b":0}]}"#);
        let text = outcome(&report(r#"{"runs":[{"id":"1","a":2,"b":0}]}"#), &payload, false);
        assert!(text.starts_with("keeps 1 of 2 runs\n"), "{text}");
        assert!(text.contains("-       \"a\": 1,\n+       \"a\": 2,\n"), "{text}");
    }

    #[test]
    fn no_change_is_said() {
        let payload = Bytes::from_static(br#"{"runs":[]}"#);
        assert!(outcome(&report(r#"{"runs":[]}"#), &payload, true).contains("byte for byte"));
    }

    #[test]
    fn every_figure_stands_beside_its_limit() {
        let text = usage(&Usage::default(), &PluginLimits::default());
        assert!(text.contains("host calls  0         100000"), "{text}");
    }
}
