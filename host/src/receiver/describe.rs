//! A received request in words for a terminal. Pure; what came over the network reaches no terminal unescaped.

use std::fmt::Write as _;

use serde_json::Value;

use crate::receiver::Received;

/// Lines of a body that are shown.
const LINES_MAX: usize = 40;

/// Characters of one line that are shown.
const LINE_CHARS_MAX: usize = 160;

/// What came and what it was answered, over several lines.
pub fn describe(received: &Received) -> String {
    let json: Option<Value> = serde_json::from_slice(&received.body).ok();
    let Received { at, method, status, .. } = received;
    let mut text = format!("{at:.0}  {method} {}  ->  {status}", printable(&received.path));
    if let Some(id) = received.headers.get("webhook-id") {
        let _ = write!(text, "\n  webhook-id {}", printable(&String::from_utf8_lossy(id.as_bytes())));
    }
    let _ = write!(text, "\n  {}", contents(json.as_ref(), received.body.len()));
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    push_lines(&mut text, &pretty.unwrap_or_else(|| String::from_utf8_lossy(&received.body).into_owned()));
    text
}

fn contents(json: Option<&Value>, bytes: usize) -> String {
    let count = |key| json.and_then(|json| json.get(key)).and_then(Value::as_array).map(Vec::len);
    match (count("runs"), count("threads"), json) {
        (Some(1), ..) => format!("1 run, {bytes} bytes"),
        (Some(runs), ..) => format!("{runs} runs, {bytes} bytes"),
        (None, Some(threads), _) => format!("{threads} threads, {bytes} bytes"),
        (None, None, Some(_)) => format!("JSON, {bytes} bytes"),
        (None, None, None) => format!("no JSON, {bytes} bytes"),
    }
}

fn push_lines(text: &mut String, body: &str) {
    let mut lines = body.lines();
    for line in lines.by_ref().take(LINES_MAX) {
        let _ = write!(text, "\n  {}", shortened(line));
    }
    let left = lines.count();
    if left > 0 {
        let _ = write!(text, "\n  ... {left} more lines");
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", printable(&line[..end])),
        None => printable(line),
    }
}

/// Control characters as escapes: a terminal obeys some of them.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut printable, char| {
        if char.is_control() {
            printable.extend(char.escape_default())
        } else {
            printable.push(char)
        }
        printable
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;

    fn received(body: impl Into<Bytes>) -> Received {
        Received {
            at: "2026-07-01T09:00:12.5Z".parse().unwrap(),
            method: Method::POST,
            path: "/hook".to_owned(),
            headers: HeaderMap::from_iter([("webhook-id".parse().unwrap(), "0198".parse().unwrap())]),
            body: body.into(),
            status: StatusCode::OK,
        }
    }

    #[test]
    fn a_payload_is_shown_with_its_runs_and_indented() {
        let text = describe(&received(r#"{"rule_id":"r","runs":[{"id":1},{"id":2}]}"#));
        let expected = "2026-07-01T09:00:12Z  POST /hook  ->  200 OK\n  webhook-id 0198\n  2 runs, 42 bytes\n  {\n    \"rule_id\": \"r\",";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn long_bodies_are_cut() {
        let runs: Vec<_> = (0..1000).collect();
        let text = describe(&received(serde_json::json!({ "runs": runs, "x": "y".repeat(10_000) }).to_string()));
        assert_eq!(text.lines().count(), 3 + LINES_MAX + 1);
        assert!(text.ends_with("more lines"));
        let line = describe(&received("y".repeat(10_000)));
        assert!(line.len() < 400 && line.ends_with("..."), "{line}");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        for body in ["\u{1b}[2J\u{7}\u{9b}31m", r#"{"runs": [], "x": "\u009b31m"}"#] {
            assert!(!describe(&received(body)).chars().any(|char| char.is_control() && char != '\n'));
        }
    }
}
