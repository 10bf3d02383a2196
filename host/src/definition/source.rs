//! Where a rule finds its runs: the project, the filters, the window.

use crate::definition::object::Object;
use crate::definition::read::problem;
use crate::definition::{Problem, Problems, SourceDefinition};
use crate::filter::Filter;
use crate::layers;
use crate::limits;
use crate::model::Timestamp;
use crate::model::rule::WINDOW_SECONDS;

/// The keys that need a project to mean something.
pub(super) const SOURCE_KEYS: &[&str] = &[
    "session_id",
    "session_name",
    "filter",
    "trace_filter",
    "tree_filter",
    "window_seconds",
    "backfill_from",
    "include_extended_stats",
];

/// None where the rule names no project; then none of the other keys may be used.
pub(super) fn source(rule: &Object<'_>, problems: &mut Problems) -> Option<SourceDefinition> {
    let project_id = rule.string("session_id", problems).and_then(|text| {
        let parsed = text.parse();
        if parsed.is_err() {
            let hint = "is no UUID; give the project's id, or its name as `session_name`";
            problems.push(problem(&rule.place("session_id"), hint));
        }
        parsed.ok()
    });
    let project_name = project_name(rule, problems);
    let definition = SourceDefinition {
        project_id,
        project_name,
        filter: filter(rule, "filter", problems),
        trace_filter: filter(rule, "trace_filter", problems),
        tree_filter: filter(rule, "tree_filter", problems),
        window_seconds: window_seconds(rule, problems),
        backfill_from: backfill_from(rule, problems),
        include_extended_stats: rule.boolean("include_extended_stats", problems).unwrap_or(false),
    };
    if definition.project_id.is_some() || definition.project_name.is_some() {
        return Some(definition);
    }
    let is_used = |key: &&&str| rule.get(key).is_some_and(|value| !super::read::is_nothing(value));
    let without_project = SOURCE_KEYS.iter().filter(|key| !key.starts_with("session_")).filter(is_used);
    for key in without_project {
        let hint = "is about runs of a project; name it with `session_name` or `session_id`";
        problems.push(problem(&rule.place(key), hint));
    }
    None
}

fn project_name(rule: &Object<'_>, problems: &mut Problems) -> Option<String> {
    let name = rule.string("session_name", problems).filter(|name| !name.trim().is_empty())?;
    if name.chars().count() > limits::PROJECT_NAME_CHARS_MAX {
        let hint = format!("has at most {} characters", limits::PROJECT_NAME_CHARS_MAX);
        problems.push(problem(&rule.place("session_name"), &hint));
    }
    Some(name.to_owned())
}

fn filter(rule: &Object<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    let text = rule.string(key, problems).filter(|text| !text.trim().is_empty())?;
    match Filter::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            problems.push(Problem { at: rule.place(key), problem: error.to_string() });
            None
        }
    }
}

fn window_seconds(rule: &Object<'_>, problems: &mut Problems) -> u32 {
    let Some(seconds) = rule.number("window_seconds", problems) else { return WINDOW_SECONDS };
    let max = f64::from(limits::WINDOW_SECONDS_MAX);
    if seconds.fract() != 0.0 || !(1.0..=max).contains(&seconds) {
        let hint = format!("is {seconds}; a window lasts 1 to {max} whole seconds");
        problems.push(problem(&rule.place("window_seconds"), &hint));
    }
    seconds as u32
}

fn backfill_from(rule: &Object<'_>, problems: &mut Problems) -> Option<Timestamp> {
    let time = layers::time(&rule.get("backfill_from")?.to_string());
    if time.is_none() {
        let hint = "is no time such as 2026-07-01T09:00:00Z";
        problems.push(problem(&rule.place("backfill_from"), hint));
    }
    time
}
