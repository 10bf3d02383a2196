//! Shortens long strings in the parts of a run that grow: inputs, outputs, error and the like. Ids stay. Where it shortens
//! inputs or outputs, the host drops what else carries them: previews, links into the object store, messages.

use runhook_sdk::prelude::*;
use runhook_sdk::strings::{Place, rewrite};

#[config]
struct Config {
    /// A longer string is cut after this many characters.
    #[serde(default = "default_max_chars")]
    max_chars: usize,
    /// JSON pointers, from each run, to what is looked through.
    #[serde(default = "default_pointers")]
    pointers: Vec<String>,
}

fn default_max_chars() -> usize {
    2000
}

fn default_pointers() -> Vec<String> {
    ["/inputs", "/outputs", "/error", "/events", "/extra", "/serialized", "/messages"].map(str::to_owned).to_vec()
}

/// Shortens long strings, with a note of how much was cut.
#[transform]
fn truncate(payload: &Payload, config: &Config) -> Result<()> {
    for run in payload {
        for pointer in &config.pointers {
            let Some(json) = run.json(pointer).filter(|json| json.len() > config.max_chars) else { continue };
            if let Some(shorter) = rewrite(&json, |text, place| cut(text, place, config.max_chars)) {
                run.set_json(pointer, &shorter)?;
            }
        }
    }
    Ok(())
}

fn cut(text: &str, place: Place, max_chars: usize) -> Option<String> {
    if place == Place::Key {
        return None;
    }
    let (end, _) = text.char_indices().nth(max_chars)?;
    Some(format!("{}… [{} characters cut]", &text[..end], text[end..].chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truncated(run: &str, config: &str) -> String {
        let payload = Payload::from_json(&format!(r#"{{"runs":[{run}]}}"#)).unwrap();
        truncate(&payload, &runhook_sdk::config::parse(config).unwrap()).unwrap();
        payload.json_at("/runs/0").unwrap()
    }

    #[test]
    fn a_long_string_is_cut_by_characters() {
        let run = r#"{"id":"0123456789","outputs":{"long key":["äöüß€","abcd"]}}"#;
        let expected = r#"{"id":"0123456789","outputs":{"long key":["äöüß… [1 characters cut]","abcd"]}}"#;
        assert_eq!(truncated(run, r#"{"max_chars": 4}"#), expected);
    }

    #[test]
    fn a_short_run_is_not_touched() {
        let run = r#"{ "inputs" : {"q": "x"}, "inputs_preview": "x" }"#;
        assert_eq!(truncated(run, "{}"), run);
    }

    #[test]
    fn only_what_is_named_is_looked_through() {
        let run = r#"{"error":"0123456789","outputs":"0123456789"}"#;
        let expected = r#"{"error":"01… [8 characters cut]","outputs":"0123456789"}"#;
        assert_eq!(truncated(run, r#"{"max_chars": 2, "pointers": ["/error"]}"#), expected);
    }
}
