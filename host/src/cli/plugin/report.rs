//! What `plugin test` and `plugin bench` print, as text from plain values.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::cli::plugin::listing;
use crate::cli::table::table;
use crate::plugin::{Measured, PluginLimits, Spread, TrialOutcome, TrialReport, TrialRun, Usage, printable};

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// Runs that are shown one by one.
const RUNS_SHOWN: usize = 20;

/// What would be sent, as a difference to the payload where it still is one.
pub(super) fn outcome(report: &TrialReport, payload: &Bytes, is_colored: bool) -> String {
    let mut text = String::new();
    match &report.result {
        Ok(TrialOutcome::Payload(made, runs)) => {
            let _ = writeln!(text, "keeps {runs} of {} runs", report.runs_before);
            text.push_str(&runs_one_by_one(&report.runs));
            if made == payload {
                text.push_str("changes nothing: the payload goes on byte for byte\n");
            } else {
                text.push_str(&difference(&pretty(payload), &pretty(made), is_colored));
            }
        }
        Ok(TrialOutcome::Body(body)) => {
            let _ = writeln!(text, "renders {} bytes of {}", body.bytes.len(), printable(&body.content_type));
            for (name, value) in &body.headers {
                let _ = writeln!(text, "{name}: {}", printable(value));
            }
            let _ = writeln!(text, "\n{}", pretty(&body.bytes));
        }
        Ok(TrialOutcome::NoRuns) => {
            let _ = writeln!(text, "keeps 0 of {} runs: nothing would be sent", report.runs_before);
            text.push_str(&runs_one_by_one(&report.runs));
        }
        Ok(TrialOutcome::NothingToSend) => text.push_str("has nothing to send\n"),
        Err(failure) => {
            let _ = writeln!(text, "FAILED in `{}`: {}", failure.export, failure.message);
            text.push_str(&listing::frames(&report.usage.frames, ""));
        }
    }
    let output = without_panic(&report.usage.output);
    if !output.is_empty() {
        let _ = writeln!(text, "\nit printed:\n{output}");
    }
    text
}

/// What it printed before it panicked: the panic is the failure, which has been shown.
fn without_panic(output: &str) -> &str {
    let is_panic = |line: &str| line.starts_with("thread '") && line.contains("panicked at ");
    let panic = output.lines().find(|line| is_panic(line)).and_then(|line| output.find(line));
    output[..panic.unwrap_or(output.len())].trim_end()
}

/// Nothing where all are kept.
fn runs_one_by_one(runs: &[TrialRun]) -> String {
    if runs.iter().all(|run| run.is_kept) {
        return String::new();
    }
    let mut text = String::new();
    for run in runs.iter().take(RUNS_SHOWN) {
        let word = if run.is_kept { "kept   " } else { "dropped" };
        let line = format!("  {word}  {}  {}", shown(&run.id), shown(&run.name));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if runs.len() > RUNS_SHOWN {
        let _ = writeln!(text, "  and {} more", runs.len() - RUNS_SHOWN);
    }
    text
}

/// One line of a terminal, whatever stands in a payload.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Each figure beside its limit.
pub(super) fn usage(usage: &Usage, limits: &PluginLimits) -> String {
    let rows = [
        ["CPU time".into(), time(usage.cpu), time(usage.cpu_max)],
        ["time by the clock".into(), time(usage.wall), time(usage.wall_max)],
        ["memory".into(), size(usage.memory_bytes as u64), size(limits.memory_bytes as u64)],
        ["table elements".into(), usage.table_elements.to_string(), limits.table_elements.to_string()],
        ["host calls".into(), usage.host_calls.to_string(), limits.host_calls.to_string()],
        ["read".into(), size(usage.bytes_out), size(limits.bytes_out)],
        ["written".into(), size(usage.bytes_in), size(limits.bytes_in)],
        ["handles to runs".into(), usage.handles.to_string(), limits.handles.to_string()],
        ["log lines".into(), usage.log_lines.to_string(), limits.log_lines.to_string()],
        ["printed, its end".into(), size(usage.output.len() as u64), size(limits.output_bytes as u64)],
    ];
    format!("\n{}", table(&["USED", "", "OF"], &rows.map(|cells: [String; 3]| cells.to_vec())))
}

/// The figures, and what they say of a core.
pub(super) fn bench(
    measured: &Measured,
    payload_bytes: usize,
    why_per_instance: Option<String>,
    limits: &PluginLimits,
) -> String {
    let (runs, bytes) = (measured.runs, size(payload_bytes as u64));
    let mut text = format!("{} times a payload of {runs} runs, {bytes}\n", measured.payloads);
    let once = || "configured once; payloads start from a snapshot".to_owned();
    let configured = why_per_instance.map_or_else(once, |why| format!("configured for every payload: {why}"));
    let _ = writeln!(text, "{configured}");
    let spread = |name: &str, spread: &Spread, of: String| {
        vec![name.to_owned(), time(spread.p50), time(spread.p99), time(spread.max), of]
    };
    let mut rows = vec![spread("payload", &measured.payload, time(measured.usage.wall_max))];
    if let Ok(runs) = u32::try_from(runs)
        && runs > 1
    {
        rows.push(spread("  per run", &measured.payload.per(runs), String::new()));
    }
    rows.push(spread("CPU time of the plugin", &measured.cpu, time(measured.usage.cpu_max)));
    rows.push(spread("fresh instance alone", &measured.instance, String::new()));
    rows.push(spread("host without a plugin", &measured.host, String::new()));
    let memory = [size(measured.memory_bytes as u64), size(limits.memory_bytes as u64)];
    rows.push(["memory".to_owned(), String::new(), String::new()].into_iter().chain(memory).collect());
    let _ = write!(text, "\n{}", table(&["", "P50", "P99", "MAX", "OF"], &rows));
    let per_second = 1.0 / measured.payload.mean.as_secs_f64();
    let share = 100.0 * measured.host.p50.as_secs_f64() / measured.payload.p50.as_secs_f64();
    let _ =
        writeln!(text, "\n{per_second:.0} payloads per second on one core; {share:.0} % of the time is the host's own");
    text
}

fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.1} µs") } else { format!("{:.2} ms", micros / 1000.0) }
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.2} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// JSON one value per line, so that a difference is small; anything else as it is. Without what terminals obey.
fn pretty(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => printable(&format!("{value:#}\n")),
        Err(_) => printable(&String::from_utf8_lossy(bytes)),
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
    use crate::model::payload::Body;

    fn report(made: &'static str) -> TrialReport {
        let result = Ok(TrialOutcome::Payload(Bytes::from_static(made.as_bytes()), 1));
        let run = |id: &str, is_kept| TrialRun { id: id.to_owned(), name: "answer\u{1b}[1m".to_owned(), is_kept };
        TrialReport { result, usage: Usage::default(), runs: vec![run("1", true), run("2", false)], runs_before: 2 }
    }

    #[test]
    fn a_change_is_shown_by_its_lines() {
        let payload = Bytes::from_static(br#"{"runs":[{"id":"1","a":1,"b":0}]}"#);
        let text = outcome(&report(r#"{"runs":[{"id":"1","a":2,"b":0}]}"#), &payload, false);
        let head = "keeps 1 of 2 runs\n  kept     1  answer [1m\n  dropped  2  answer [1m\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("-       \"a\": 1,\n+       \"a\": 2,\n"), "{text}");
    }

    #[test]
    fn no_change_is_said() {
        let payload = Bytes::from_static(br#"{"runs":[]}"#);
        assert!(outcome(&report(r#"{"runs":[]}"#), &payload, true).contains("byte for byte"));
    }

    #[test]
    fn nothing_that_a_body_has_is_obeyed_by_a_terminal() {
        let shown = |bytes: &'static [u8]| {
            let headers = vec![("x-mark".to_owned(), "\u{9b}1m".to_owned())];
            let content_type = "text/plain\u{9b}".to_owned();
            let body = Body { content_type, headers, bytes: Bytes::from_static(bytes) };
            let report = TrialReport { result: Ok(TrialOutcome::Body(body)), ..report("") };
            outcome(&report, &Bytes::new(), false)
        };
        let text = shown(b"a\x1b]0;b\x07\n");
        assert!(text.ends_with("plain\\u{9b}\nx-mark: \\u{9b}1m\n\na\\u{1b}]0;b\\u{7}\n\n"), "{text}");
        assert!(!shown("{\"a\":\"\u{9b}\"}".as_bytes()).contains('\u{9b}'));
    }

    #[test]
    fn every_figure_stands_beside_its_limit() {
        let used = Usage { host_calls: 7, handles: 3, output: "words".to_owned(), ..Usage::default() };
        let text = usage(&used, &PluginLimits::default());
        for row in [["host calls", "7", "100000"], ["handles to runs", "3", "10000"], ["log lines", "0", "1000"]] {
            let is_row = |line: &str| row.iter().all(|cell| line.contains(cell));
            assert!(text.lines().any(is_row), "{row:?} is not in {text}");
        }
        assert_eq!(text.trim().lines().count(), 11, "{text}");
    }

    #[test]
    fn a_panic_is_shown_once() {
        let output =
            "a word\n\nthread 'x' (1) panicked at src/lib.rs:7:5:\nno idea\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(without_panic(output), "a word");
        assert_eq!(without_panic("a word\n"), "a word");
    }

    #[test]
    fn many_runs_are_counted_and_not_shown() {
        let run = |id: usize| TrialRun { id: id.to_string(), name: String::new(), is_kept: id > 0 };
        let text = runs_one_by_one(&(0..50).map(run).collect::<Vec<_>>());
        assert!(text.starts_with("  dropped  0\n  kept     1\n") && text.ends_with("  and 30 more\n"), "{text}");
        assert_eq!(runs_one_by_one(&[run(1)]), "");
    }

    #[test]
    fn a_bench_says_what_a_core_does_in_a_second() {
        let all = |micros| {
            let time = Duration::from_micros(micros);
            Spread { p50: time, p99: time, max: time, mean: time }
        };
        let measured = Measured {
            payloads: 9,
            runs: 2,
            payload: all(200),
            cpu: all(150),
            instance: all(10),
            host: all(50),
            memory_bytes: 1 << 20,
            usage: Usage::default(),
        };
        let text = bench(&measured, 1 << 19, Some("it prints".to_owned()), &PluginLimits::default());
        assert!(
            text.starts_with("9 times a payload of 2 runs, 512.0 KiB\nconfigured for every payload: it prints\n"),
            "{text}"
        );
        assert!(text.contains("  per run               100.0 µs"), "{text}");
        assert!(text.ends_with("5000 payloads per second on one core; 25 % of the time is the host's own\n"), "{text}");
    }
}
