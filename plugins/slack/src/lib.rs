//! Writes a Slack message (Block Kit) for an incoming webhook: the rule, and each run with status, error, latency and
//! a link. Keeps to Slack's limits: 50 blocks, 3,000 characters in a section's text, 150 in a header's.

use runhook_sdk::prelude::*;

const BLOCKS_MAX: usize = 50;
const HEADER_CHARS_MAX: usize = 150;
const NAME_CHARS_MAX: usize = 120;
const URL_CHARS_MAX: usize = 1500;
const ERROR_CHARS_MAX: usize = 1000;

#[config]
struct Config {
    /// The headline; default: how many runs matched which rule.
    title: Option<String>,
    /// Put before links that have no host of their own.
    #[serde(default = "langsmith")]
    base_url: String,
}

fn langsmith() -> String {
    "https://smith.langchain.com".to_owned()
}

/// Writes a Slack message with a link to each run.
#[render]
fn message(payload: &Payload, body: &Body, config: &Config) -> Result<bool> {
    if payload.is_empty() {
        return Ok(false);
    }
    let runs = if payload.len() == 1 { "run" } else { "runs" };
    let summary = format!("{} {runs} matched rule {}", payload.len(), payload.rule_id());
    let title = config.title.as_deref().unwrap_or(&summary);
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(title, HEADER_CHARS_MAX)}}),
        json!({"type": "context", "elements": [mrkdwn(escaped(&summary, HEADER_CHARS_MAX))]}),
    ];
    let shown = BLOCKS_MAX - blocks.len() - 1;
    blocks.extend(payload.runs().take(shown).map(|run| section(&run, config)));
    if payload.len() > shown {
        blocks.push(json!({"type": "context", "elements": [mrkdwn(format!("… and {} more", payload.len() - shown))]}));
    }
    body.write_json(&json!({"text": escaped(title, HEADER_CHARS_MAX), "blocks": blocks}))?;
    Ok(true)
}

fn section(run: &Run, config: &Config) -> Value {
    let name = Some(run.name()).filter(|name| !name.is_empty()).unwrap_or_else(|| "run".to_owned());
    let name = escaped(&name.replace(['\n', '|'], " "), NAME_CHARS_MAX);
    let title = link(run, config).map_or(name.clone(), |url| format!("<{url}|{name}>"));
    let mut text = format!("*{title}* · {}", escaped(&run.status(), NAME_CHARS_MAX));
    if let Some(latency) = run.latency_ms() {
        text.push_str(&format!(" · {:.2} s", latency / 1000.0));
    }
    if let Some(error) = run.error() {
        text.push_str(&format!("\n```{}```", escaped(&error.replace("```", "'''"), ERROR_CHARS_MAX)));
    }
    json!({"type": "section", "text": mrkdwn(text)})
}

fn mrkdwn(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text})
}

fn link(run: &Run, config: &Config) -> Option<String> {
    let url = run.url()?;
    let url = if url.starts_with('/') { format!("{}{url}", config.base_url.trim_end_matches('/')) } else { url };
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace(char::is_whitespace, "%20");
    let url = url.replace('&', "&amp;");
    (is_web && url.chars().count() <= URL_CHARS_MAX).then_some(url)
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some(_) => text.chars().take(chars_max - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// What is special to Slack written out, and cut where it would be longer than allowed then.
fn escaped(text: &str, chars_max: usize) -> String {
    let written = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let Some((end, _)) = written.char_indices().nth(chars_max) else { return written };
    // Not in the middle of `&amp;`.
    let kept = &written[..end];
    let end = kept.rfind('&').filter(|at| !kept[*at..].contains(';')).unwrap_or(end);
    format!("{}…", &written[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(payload: &Value) -> Option<Value> {
        let body = Body::new();
        let config = runhook_sdk::config::parse("{}").unwrap();
        let is_sent = message(&Payload::from_json(&payload.to_string()).unwrap(), &body, &config).unwrap();
        is_sent.then(|| runhook_sdk::serde_json::from_str(&body.text()).unwrap())
    }

    #[test]
    fn a_run_is_shown_with_its_link() {
        let run = json!({"name": "a <b> & c", "status": "error", "error": "x < y", "app_path": "/o/1?a=1&b=2|",
            "start_time": "2026-07-01T09:00:00", "end_time": "2026-07-01T09:00:01.5"});
        let message = rendered(&json!({"rule_id": "r1", "runs": [run]})).unwrap();
        assert_eq!(message["text"], "1 run matched rule r1");
        let text =
            "*<https://smith.langchain.com/o/1?a=1&amp;b=2%7C|a &lt;b&gt; &amp; c>* · error · 1.50 s\n```x &lt; y```";
        assert_eq!(message["blocks"][2]["text"]["text"], text);
    }

    #[test]
    fn slacks_limits_hold() {
        let run = json!({"name": "<".repeat(9000), "status": "&".repeat(9000), "error": "&".repeat(9000),
            "trace_url": format!("https://x/{}", "&".repeat(280))});
        let payload = json!({"rule_id": "r".repeat(500), "runs": vec![run; 80]});
        let message = rendered(&payload).unwrap();
        let blocks = message["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 50);
        assert_eq!(blocks[49]["elements"][0]["text"], "… and 33 more");
        assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
        let longest = blocks[2..49].iter().map(|block| block["text"]["text"].as_str().unwrap().chars().count()).max();
        assert!((2500..=3000).contains(&longest.unwrap()), "{longest:?}");
    }

    #[test]
    fn without_runs_there_is_nothing_to_send() {
        assert_eq!(rendered(&json!({"runs": []})), None);
    }
}
