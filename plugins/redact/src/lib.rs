//! Removes secrets: what stands at JSON pointers in each run, and what matches regular expressions anywhere in the
//! payload, keys included. Leaves no twin: what else carries the data, or could and cannot be read, goes too.

mod ascii;
mod patterns;

use runhook_sdk::prelude::*;
use runhook_sdk::serde::de::{Deserializer, Error as _};

use crate::patterns::Patterns;

#[config]
struct Config {
    /// JSON pointers, from each run, to what is replaced whole: `/inputs`, `/extra/metadata/user`. At most 64 keys deep.
    #[serde(default, deserialize_with = "below_the_run")]
    pointers: Vec<String>,
    /// Regular expressions; what they match in any string of the payload is replaced.
    #[serde(default, deserialize_with = "patterns::compiled")]
    #[schemars(with = "Vec<String>")]
    patterns: Patterns,
    /// What stands there instead.
    #[serde(default = "redacted")]
    replacement: String,
}

fn redacted() -> String {
    "[redacted]".to_owned()
}

fn below_the_run<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let pointers = Vec::<String>::deserialize(deserializer)?;
    match pointers.iter().find(|pointer| !pointer.starts_with('/') || pointer.matches('/').count() > 64) {
        Some(pointer) => Err(D::Error::custom(format_args!("`{pointer}` should be a JSON pointer such as `/inputs`"))),
        None => Ok(pointers),
    }
}

/// Replaces secrets by JSON pointer and by regular expression, and leaves no twin of them.
#[transform]
fn redact(payload: &Payload, config: &Config) -> Result<()> {
    for run in payload {
        for pointer in &config.pointers {
            redact_at(&run, pointer, &config.replacement)?;
        }
    }
    if config.patterns.is_empty() {
        return Ok(());
    }
    // What lies elsewhere is part of this; a link that is left leads to what cannot be read.
    let clean = config.patterns.replace(&payload.json(), &config.replacement);
    clean.map_or(Ok(()), |clean| payload.set_json("", &clean))?;
    for run in payload {
        for unreadable in ["/inputs_s3_urls", "/outputs_s3_urls", "/s3_urls"] {
            run.remove(unreadable);
        }
    }
    Ok(())
}

fn redact_at(run: &Run, pointer: &str, replacement: &str) -> Result<()> {
    let field = pointer.split('/').nth(1).unwrap_or_default();
    let is_part = (field == "inputs" || field == "outputs") && pointer.matches('/').count() > 1;
    let mut twins = vec![format!("/{field}_preview"), format!("/s3_urls/{field}")];
    // A whole field need not be fetched from elsewhere: its links go first. Where a part of it goes, the edit drops them.
    twins.extend((!is_part).then(|| format!("/{field}_s3_urls")));
    for twin in twins {
        run.remove(&twin);
    }
    match run.json(pointer).as_deref() {
        Some("null") => run.set_json(pointer, "null")?,
        Some(_) => run.set(pointer, replacement)?,
        // A twin that no read sees may hold what is absent or null in the last one.
        None => _ = run.remove(pointer),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(payload: &str, config: &str) -> String {
        let payload = Payload::from_json(payload).unwrap();
        redact(&payload, &runhook_sdk::config::parse(config).unwrap()).unwrap();
        payload.json()
    }

    #[test]
    fn a_pointer_leaves_no_twin() {
        let payload = r#"{"runs": [{"inputs": {"q": "secret"}, "inputs_preview": "secret", "messages": ["secret"],
            "inputs_s3_urls": {"ROOT": "secret"}, "s3_urls": {"inputs": "secret"}, "inputs": "secret", "id": "r"}]}"#;
        let clean = redacted(payload, r#"{"pointers": ["/inputs"]}"#);
        assert_eq!(clean.matches("secret").count(), 0, "{clean}");
        assert!(clean.contains(r#""inputs":"[redacted]""#), "{clean}");
    }

    #[test]
    fn a_field_that_is_kept_elsewhere_loses_its_links() {
        let payload = r#"{"runs":[{"outputs":null,"outputs_s3_urls":{"ROOT":{"presigned_url":"u"}}}]}"#;
        assert_eq!(redacted(payload, r#"{"pointers": ["/outputs/key"]}"#), r#"{"runs":[{"outputs":null}]}"#);
        assert_eq!(redacted(payload, r#"{"patterns": ["sk-[a-z]+"]}"#), r#"{"runs":[{"outputs":null}]}"#);
    }

    #[test]
    fn an_earlier_twin_of_nothing_or_null_is_no_hiding_place() {
        for (last, pointer) in [("null", "/inputs"), ("null", "/inputs/q"), ("{}", "/inputs/q")] {
            let payload = format!(r#"{{"runs":[{{"inputs":{{"q":"SECRET"}},"inputs":{last}}}]}}"#);
            let clean = redacted(&payload, &format!(r#"{{"pointers": ["{pointer}"]}}"#));
            assert!(!clean.contains("SECRET") && clean.contains(last), "{clean}");
        }
    }

    #[test]
    fn patterns_see_every_string_and_key_and_through_escapes() {
        let payload = r#"{"runs":[{"a":{"sk-key":1},"b":["x \u0073k-abc\n"]}],"threads":[{"t":"sk-def"}],"n":1.50}"#;
        let clean = r#"{"runs":[{"a":{"#.to_owned() + r##""#":1},"b":["x #\n"]}],"threads":[{"t":"#"}],"n":1.50}"##;
        assert_eq!(redacted(payload, r##"{"patterns": ["sk-[a-z]+"], "replacement": "#"}"##), clean);
    }

    #[test]
    fn nothing_found_leaves_the_payload_as_it_came() {
        let payload = "{ \"runs\" : [ {\"inputs\": \"\\u0041\"} ] }";
        assert_eq!(redacted(payload, r#"{"patterns": ["sk-[a-z]+"], "pointers": ["/outputs"]}"#), payload);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let error = |config| runhook_sdk::config::parse::<Config>(config).map(|_| ()).unwrap_err().to_string();
        assert!(error(r#"{"patterns": ["("]}"#).starts_with("config field `patterns`: regex parse error"));
        assert_eq!(error(r#"{"patterns": ["a*"]}"#), "config field `patterns`: `a*` matches the empty text");
        assert!(error(r#"{"pointers": ["inputs"]}"#).contains("should be a JSON pointer such as `/inputs`"));
    }
}
