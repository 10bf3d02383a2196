//! PATCH: what is not given stays as it is.

use serde_json::Value;

use crate::definition::{Problem, Problems, RuleDefinition, read_rule, show};
use crate::model::rule::Rule;

/// The definition of a rule with some of its fields replaced. As at LangSmith, `display_name` and `sampling_rate` have
/// to be given; an array of webhooks replaces the old one whole.
///
/// # Errors
/// Everything that is wrong in what was given.
pub fn patched(rule: &Rule, changes: &Value) -> Result<RuleDefinition, Problems> {
    let Value::Object(changes) = changes else { return read_rule(changes) };
    let is_missing = |key: &&&str| changes.get(**key).is_none_or(Value::is_null);
    let missing: Problems = ["display_name", "sampling_rate"]
        .iter()
        .filter(is_missing)
        .map(|key| Problem { at: (*key).to_owned(), problem: "is missing; a change has to repeat it".to_owned() })
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let mut whole = show(rule);
    if let Value::Object(fields) = &mut whole {
        // Either names the project: who gives one of them means it alone.
        for (given, other) in [("session_id", "session_name"), ("session_name", "session_id")] {
            if changes.contains_key(given) && !changes.contains_key(other) {
                fields.remove(other);
            }
        }
        fields.extend(changes.clone());
    }
    let definition = read_rule(&whole)?;
    match definition.id {
        Some(id) if id != rule.id => {
            let problem = format!("is that of another rule; this one is {}", rule.id);
            Err(vec![Problem { at: "id".to_owned(), problem }])
        }
        _ => Ok(definition),
    }
}
