//! What the demo prints, as text from plain values. Knows nothing of hosts and receivers.

use std::fmt::Write;

use serde_json::Value;

/// ANSI styles, or nothing where the output is no terminal.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    is_colored: bool,
}

impl Style {
    /// Colours only where somebody can see them.
    pub fn new(is_colored: bool) -> Self {
        Self { is_colored }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.is_colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For what matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// A line for each run of a payload: status, name, inputs, error.
pub(super) fn runs(payload: &Value, style: Style) -> String {
    let mut text = String::new();
    for run in payload["runs"].as_array().into_iter().flatten() {
        let field = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
        let status = format!("{:<8}", field("status"));
        let status = if field("status") == "error" { style.bad(&status) } else { style.good(&status) };
        let inputs = shortened(&run["inputs"].to_string(), 78);
        let _ = writeln!(text, "     {status} {:<17} inputs {}", field("name"), style.dim(&inputs));
        if let Some(error) = run["error"].as_str() {
            let _ = writeln!(text, "     {:<26} error  {}", "", style.dim(&shortened(error, 78)));
        }
    }
    text
}

/// A line for each attempt of a delivery, as the API shows it.
pub(super) fn attempts(delivery: &Value, style: Style) -> String {
    let mut text = String::new();
    for attempt in delivery["attempts"].as_array().into_iter().flatten() {
        let outcome = attempt["outcome"].as_str().unwrap_or_default();
        let shown = if outcome == "delivered" { style.good(outcome) } else { style.bad(outcome) };
        let status = attempt["status"].as_u64().map_or_else(|| "---".to_owned(), |status| status.to_string());
        let _ = writeln!(
            text,
            "     attempt {}   {status}   {shown}   after {} ms",
            attempt["number"],
            attempt["duration_ms"].as_u64().unwrap_or_default()
        );
    }
    text
}

/// The JSON, pretty, indented, at most so many lines.
pub(super) fn json(value: &Value, lines_max: usize, style: Style) -> String {
    let pretty = format!("{value:#}");
    let count = pretty.lines().count();
    let mut text = String::new();
    for line in pretty.lines().take(lines_max) {
        let _ = writeln!(text, "     {}", shortened(line, 110));
    }
    if count > lines_max {
        let _ = writeln!(text, "     {}", style.dim(&format!("… {} more lines", count - lines_max)));
    }
    text
}

fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let head: String = text.chars().take(chars_max - 1).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_one_line_and_its_error_another() {
        let payload = json!({"runs": [{"status": "error", "name": "answer", "inputs": {"q": 1}, "error": "boom"}]});
        let text = runs(&payload, Style::new(false));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("error    answer"), "{text}");
        assert!(text.contains("boom"), "{text}");
    }

    #[test]
    fn long_json_says_how_much_is_missing() {
        let text = json(&json!([1, 2, 3, 4]), 2, Style::new(false));
        assert_eq!(text, "     [\n       1,\n     … 4 more lines\n");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 2), "ä…");
    }
}
