//! What `plugin list` and `plugin failures` print, as text from plain values.

use std::fmt::Write;

use crate::cli::table::table;
use crate::model::Timestamp;
use crate::model::plugin::PluginName;
use crate::plugin::{FailureRecord, PluginInfo};

/// One line for each plugin, and one more for each thing that is wrong with it.
pub(super) fn plugins(plugins: &[PluginInfo]) -> String {
    let rows = |plugin: &PluginInfo| {
        let origin = origin(plugin);
        let head = [plugin.name.clone(), plugin.stages.to_string(), origin, failed(plugin)];
        let row = |head: [String; 4], text: String| head.into_iter().chain([text]).collect::<Vec<_>>();
        let mut troubles = troubles(plugin).into_iter();
        let first = plugin.error.as_ref().and_then(|_| troubles.next()).unwrap_or_else(|| what(plugin));
        let mut rows = vec![row(head, first)];
        rows.extend(troubles.map(|trouble| row(Default::default(), trouble)));
        rows
    };
    let rows: Vec<_> = plugins.iter().flat_map(rows).collect();
    table(&["NAME", "STAGES", "FROM", "FAILED", "WHAT"], &rows)
}

fn origin(plugin: &PluginInfo) -> String {
    match (&plugin.file, &plugin.signed_by) {
        (None, _) => "built in".to_owned(),
        (Some(file), None) => file.clone(),
        (Some(file), Some(key)) => format!("{file}, signed by {key}"),
    }
}

fn what(plugin: &PluginInfo) -> String {
    let first_line = plugin.description.lines().next().unwrap_or_default();
    match &plugin.per_instance {
        Some(why) => format!("{first_line} (configured for every payload: {why})"),
        None => first_line.to_owned(),
    }
}

fn troubles(plugin: &PluginInfo) -> Vec<String> {
    let error = plugin.error.iter().map(|error| match &plugin.hash {
        Some(_) => format!("ERROR the file of before is active, for the newest one {error}"),
        None => format!("ERROR {error}"),
    });
    let warning = plugin.warning.iter().map(|warning| format!("WARNING {warning}"));
    let quarantines = plugin.quarantines.iter().map(|quarantine| {
        let (since, probe_at) = (shown(quarantine.since), shown(quarantine.probe_at));
        let (config, count) = (&quarantine.config, quarantine.turned_away);
        format!(
            "QUARANTINE since {since}, next probe from {probe_at}, {count} payloads turned away, with {config}: {}",
            one_line(&quarantine.cause)
        )
    });
    error.chain(warning).map(|text| one_line(&text)).chain(quarantines).collect()
}

fn failed(plugin: &PluginInfo) -> String {
    match plugin.failures.last_at {
        Some(last) => format!("{}, last {}", plugin.failures.count, shown(last)),
        None => "-".to_owned(),
    }
}

/// Newest first, each with what its author needs to find the place.
pub(super) fn failures(plugin: &PluginName, failures: &[FailureRecord]) -> String {
    if failures.is_empty() {
        return format!("`{plugin}` has not failed since the host started\n");
    }
    failures.iter().map(failure).collect::<Vec<_>>().join("\n")
}

fn failure(failure: &FailureRecord) -> String {
    let mut text = String::new();
    let FailureRecord { at, kind, export, payload_id, message, .. } = failure;
    let _ = writeln!(text, "{}  {kind} in `{export}`, payload {payload_id}", shown(*at));
    let _ = writeln!(text, "  {}", indented(message));
    if !failure.frames.is_empty() {
        text.push_str(&frames(&failure.frames, "  "));
    }
    if failure.is_per_instance {
        let _ = writeln!(text, "  it was configured for this payload alone");
    }
    let printed = failure.printed.trim_end();
    // What it panicked with stands in the message.
    if !printed.is_empty() && !message.contains("panicked at ") {
        let _ = writeln!(text, "  it printed:\n    {}", printed.replace('\n', "\n    "));
    }
    text
}

/// The functions of a trap, the innermost first.
pub(super) fn frames(frames: &[String], indent: &str) -> String {
    frames.iter().map(|frame| format!("{indent}  in {frame}\n")).collect()
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn shown(time: Timestamp) -> String {
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn info(fields: Value) -> PluginInfo {
        let mut plugin = json!({
            "name": "slow", "is_built_in": false, "file": "slow.wasm", "hash": "00", "description": "Keeps\nall",
            "version": "1", "stages": {"filter": true, "transform": false, "render": false},
        });
        plugin.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(plugin).unwrap()
    }

    #[test]
    fn a_plugin_that_is_well_takes_one_line() {
        let text = plugins(&[info(json!({}))]);
        assert_eq!(text, "NAME  STAGES  FROM       FAILED  WHAT\nslow  filter  slow.wasm  -       Keeps\n");
    }

    #[test]
    fn what_is_wrong_with_a_plugin_is_listed_below_it() {
        let ill = info(json!({
            "failures": {"count": 7, "last_at": "2026-07-01T09:00:01.25Z"},
            "quarantines": [{
                "config": "{}", "since": "2026-07-01T09:00:00Z", "probe_at": "2026-07-01T09:00:02Z", "turned_away": 3,
                "cause": "it trapped:\nunreachable",
            }],
        }));
        let text = plugins(&[ill]);
        assert!(text.contains("7, last 2026-07-01T09:00:01Z  Keeps\n"), "{text}");
        let line = "QUARANTINE since 2026-07-01T09:00:00Z, next probe from 2026-07-01T09:00:02Z, 3 payloads turned away, \
                    with {}: it trapped: unreachable\n";
        assert!(text.ends_with(line), "{text}");
        let refused = plugins(&[info(json!({"error": "it breaks down"}))]);
        assert!(
            refused.contains("-       ERROR the file of before is active, for the newest one it breaks down\n"),
            "{refused}"
        );
        assert!(plugins(&[info(json!({"error": "it is damaged", "hash": null}))]).contains("ERROR it is damaged\n"));
    }

    #[test]
    fn a_failure_is_told_with_its_place_and_what_was_printed() {
        let name = "slow".parse().unwrap();
        assert!(failures(&name, &[]).contains("`slow` has not failed"));
        let record = |message: &str| FailureRecord {
            at: "2026-07-01T09:00:00.5Z".parse().unwrap(),
            payload_id: "0198c0de-0000-7000-8000-000000000001".parse().unwrap(),
            export: "keep".to_owned(),
            kind: crate::model::plugin::PluginFailureKind::Trap,
            message: message.to_owned(),
            printed: "one\ntwo\n".to_owned(),
            frames: vec!["slow::price at src/lib.rs:14".to_owned()],
            is_per_instance: true,
        };
        assert_eq!(
            failures(&name, &[record("it trapped")]),
            "2026-07-01T09:00:00Z  trap in `keep`, payload 0198c0de-0000-7000-8000-000000000001\n  it trapped\n    \
             in slow::price at src/lib.rs:14\n  it was configured for this payload alone\n  it printed:\n    one\n    two\n"
        );
        assert!(!failures(&name, &[record("panicked at src/lib.rs:14:5: no")]).contains("it printed"));
    }
}
