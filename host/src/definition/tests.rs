use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::model::Timestamp;
use crate::model::project::Project;
use crate::model::rule::Rule;
use crate::model::secret::MASK;

const ID: &str = "0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10";

const TOML: &str = r#"
[[rules]]
id = "0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10"
display_name = "errors"
sampling_rate = 1.0
relay_secret = "relay-s3cret"
[[rules.webhooks]]
id = "oncall"
url = "https://example.com/hook?secret=query-s3cret"
headers = { Authorization = "Bearer header-s3cret" }
plugins = [ { name = "errors-only" }, { name = "redact", config = { pointers = ["/inputs"] }, on_error = "skip" } ]
[[rules.webhooks]]
url = "https://example.com/other?secret=query-s3cret"
"#;

const YAML: &str = r#"
rules:
  - id: 0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10
    display_name: errors
    sampling_rate: 1.0
    relay_secret: relay-s3cret
    webhooks:
      - id: oncall
        url: https://example.com/hook?secret=query-s3cret
        headers: { Authorization: Bearer header-s3cret }
        plugins:
          - name: errors-only
          - { name: redact, config: { pointers: [/inputs] }, on_error: skip }
      - url: https://example.com/other?secret=query-s3cret
"#;

fn rule_of(definition: RuleDefinition, before: Option<&Rule>) -> Result<Rule, Problems> {
    resolve(definition, before, ID.parse().unwrap(), &[], "", Timestamp::UNIX_EPOCH)
}

fn stored() -> Rule {
    let document = parse(Format::Toml, TOML).unwrap();
    rule_of(read_document(&document).unwrap().remove(0), None).unwrap()
}

fn problems(document: &Value) -> Vec<String> {
    read_document(document).unwrap_err().iter().map(Problem::to_string).collect()
}

fn minimal(extra: Value) -> Value {
    let mut rule = json!({"display_name": "a", "sampling_rate": 1});
    rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"rules": [rule]})
}

#[test]
fn the_three_formats_say_the_same() {
    let toml = parse(Format::Toml, TOML).unwrap();
    assert_eq!(parse(Format::Yaml, YAML).unwrap(), toml);
    assert_eq!(parse(Format::Json, &toml.to_string()).unwrap(), toml);
}

#[test]
fn a_fault_of_the_grammar_is_told_by_its_place_without_the_text() {
    for (format, text) in [
        (Format::Toml, "[[rules]]\nrelay_secret = \"hunter2\n"),
        (Format::Yaml, "rules:\n  - relay_secret: [hunter2\n"),
        (Format::Json, "{\"rules\": [\n{\"relay_secret\": \"hunter2\" x}]}"),
    ] {
        let error = parse(format, text).unwrap_err();
        assert!(error.line >= 2, "{format:?}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_yaml_fault_quotes_nothing_of_the_text() {
    let texts = [
        "relay_secret: 8230e91728",
        "base: &a 8230e91728\nrelay_secret: *a",
        "relay_secret: !s8230e91728 x",
        "relay_secret: !!int s8230e91728",
        "relay_secret: !!binary s8230e91728",
        "relay_secret: *s8230e91728",
        "s8230e91728: 1\ns8230e91728: 2",
        "? [s8230e91728]\n: 1",
        "relay_secret: !include s8230e91728",
        "relay_secret: 'x' s8230e91728",
        "relay_secret: \"\\q8230e91728\"",
        "relay_secret: @8230e91728",
        "a: 1\n--- s8230e91728",
    ];
    for text in texts {
        let Err(error) = parse(Format::Yaml, text) else { continue };
        assert!(!error.to_string().contains("8230e91728"), "{text}: {error}");
    }
    let error = parse(Format::Yaml, "rules:\n  - relay_secret: 8230e91728\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 19: reads as a number that has no end; put the value in quotes");
    for (format, text) in [(Format::Toml, "a = 8230e91728"), (Format::Json, "{\"a\": 8230e91728}")] {
        let text = parse(format, text).map_or_else(|error| error.to_string(), |_| String::new());
        assert!(!text.contains("8230"), "{text}");
    }
}

#[test]
fn what_answers_show_is_a_document_too() {
    let rule = stored();
    for document in [show(&rule), json!([show(&rule)]), json!({"rules": [show(&rule)]})] {
        let definitions = read_document(&document).unwrap();
        let planned = plan(definitions, &[Arc::new(rule.clone())], &[], false, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(planned.len(), 1);
        assert!(!planned[0].is_change());
    }
    assert_eq!(
        problems(&json!({"display_name": "a", "sampling_rat": 1})),
        [
            "rules[0].sampling_rat: unknown key; did you mean `sampling_rate`?",
            "rules[0].sampling_rate: is missing; give the share of the runs that is sent, 1.0 for all"
        ]
    );
    assert_eq!(problems(&json!([1])), ["rules[0]: needs an object; this is a number"]);
}

#[test]
fn a_dry_run_shows_no_id_that_was_made_for_it() {
    let planned = |extra: Value| {
        let definitions = read_document(&minimal(extra)).unwrap();
        plan(definitions, &[], &[], false, Timestamp::UNIX_EPOCH).unwrap().remove(0)
    };
    let made = planned(json!({"relay_secret": "s", "webhooks": [{"url": "https://a/b"}]}));
    let shown = made.show(true);
    assert_eq!((&shown["id"], &shown["relay_path"]), (&Value::Null, &Value::Null));
    assert!(shown["details"].to_string().contains("webhooks.(new): added, https://a/b"), "{shown}");
    assert_eq!(made.show(false)["id"], json!(made.id()));
    let given = planned(json!({"relay_secret": "s", "id": ID})).show(true);
    assert_eq!((&given["id"], &given["relay_path"]), (&json!(ID), &json!(format!("/relay/{ID}"))));
}

#[test]
fn a_rule_without_a_secret_has_no_relay_path() {
    let rule = stored();
    assert_eq!(show(&rule)["relay_path"], format!("/relay/{ID}"));
    let closed = Rule { relay_secret: None, ..rule };
    assert_eq!(show(&closed)["relay_path"], Value::Null);
    let planned = Planned::Update { before: Arc::new(closed.clone()), after: closed, at: String::new() };
    assert_eq!(planned.show(false)["relay_path"], Value::Null);
}

#[test]
fn a_masked_url_of_which_the_path_was_edited_is_refused_with_what_to_do() {
    let rule = stored();
    let mut shown = show(&rule);
    shown["webhooks"][0]["url"] = json!("https://example.com/other?********");
    let refused = rule_of(read_rule(&shown).unwrap(), Some(&rule)).unwrap_err();
    assert_eq!(refused[0].at, "webhooks[0].url");
    assert!(refused[0].problem.ends_with("write the masked part out"), "{refused:?}");
}

#[test]
fn every_problem_is_told_at_once_with_its_place_and_what_would_be_right() {
    let document = json!({"rules": [
        {
            "dispaly_name": "a", "sampling_rate": 1.5, "relay_secret": "",
            "webhooks": [
                {"url": "https://a/b", "profile": "langsmit", "headers": {"Host": "x", "a b": "y", "ok": "line\nend"}},
                {"plugins": [{"name": "Redact"}, {"nmae": "redact", "on_error": "stop", "config": []}]},
                "https://a/b",
            ],
        },
        {"display_name": "b", "sampling_rate": "all", "id": "7"},
    ]});
    assert_eq!(
        problems(&document),
        [
            "rules[0].dispaly_name: unknown key; did you mean `display_name`?",
            "rules[0].display_name: is missing; give the rule a name that no other rule has",
            "rules[0].sampling_rate: is 1.5; it goes from 0.0 to 1.0",
            "rules[0].relay_secret: is empty, which protects nothing; leave it out to close the relay door",
            "rules[0].webhooks[0].headers.Host: belongs to the host and cannot be set",
            "rules[0].webhooks[0].headers.a b: cannot be the name of a header",
            "rules[0].webhooks[0].headers.ok: has characters that a header cannot have",
            "rules[0].webhooks[0].profile: there is no profile `langsmit`; did you mean `langsmith`?",
            "rules[0].webhooks[1].url: is missing; give the receiver's URL",
            "rules[0].webhooks[1].plugins[0].name: `Redact` is no plugin name: use 1 to 64 lower-case letters, digits and `-`",
            "rules[0].webhooks[1].plugins[1].nmae: unknown key; did you mean `name`?",
            "rules[0].webhooks[1].plugins[1].name: is missing; name a plugin (`runhook plugin list`)",
            "rules[0].webhooks[1].plugins[1].config: needs an object; this is an array",
            "rules[0].webhooks[1].plugins[1].on_error: `stop` is none of hold, skip, drop",
            "rules[0].webhooks[2]: needs an object; this is a string",
            "rules[1].id: is no UUID; leave it out to have one made",
            "rules[1].sampling_rate: needs a number; this is a string",
        ]
    );
}

#[test]
fn a_document_without_rules_and_twins_are_told() {
    assert_eq!(problems(&json!("rules")), ["needs an object; this is a string"]);
    assert_eq!(problems(&json!({"rule": []})).len(), 2);
    let twins =
        json!({"rules": [{"display_name": "a", "sampling_rate": 1}, {"display_name": "a", "sampling_rate": 1}]});
    assert_eq!(problems(&twins), ["rules: more than one has the display_name `a`"]);
}

#[test]
fn langsmiths_fields_are_taken_when_they_say_nothing_and_refused_when_they_promise() {
    let nothing = minimal(json!({"filter": null, "extend_only": false, "alerts": [], "session_id": null}));
    assert_eq!(read_document(&nothing).unwrap().len(), 1);
    let promise = minimal(json!({"add_to_dataset_id": ID, "filter": "eq(is_root, true)"}));
    assert_eq!(problems(&promise).len(), 2);
    assert!(problems(&promise)[0].starts_with("rules[0].add_to_dataset_id: is LangSmith's"));
}

#[test]
fn what_is_shown_hides_every_secret_and_can_be_sent_back() {
    let rule = stored();
    let shown = show(&rule);
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    assert_eq!(shown["webhooks"][0]["headers"]["authorization"], MASK);
    let back = rule_of(read_rule(&shown).unwrap(), Some(&rule)).unwrap();
    assert!(is_same(&rule, &back));
    assert_eq!(changes(&rule, &back), Vec::<String>::new());
}

#[test]
fn a_mask_with_nothing_behind_it_is_refused() {
    let shown = show(&stored());
    let refused = rule_of(read_rule(&shown).unwrap(), None).unwrap_err();
    let places: Vec<_> = refused.iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!(places, ["relay_secret", "webhooks[0].url", "webhooks[1].url"]);
}

#[test]
fn the_default_id_outlives_a_rotated_secret() {
    let rule = stored();
    let rotated = TOML.replace("query-s3cret", "another");
    let document = parse(Format::Toml, &rotated).unwrap();
    let after = rule_of(read_document(&document).unwrap().remove(0), Some(&rule)).unwrap();
    assert_eq!(after.webhooks[1].id, rule.webhooks[1].id);
    assert_eq!(
        changes(&rule, &after),
        [
            "webhooks.oncall.url: changed where it is masked".to_owned(),
            format!("webhooks.{}.url: changed where it is masked", rule.webhooks[1].id),
        ]
    );
}

#[test]
fn two_webhooks_of_one_url_need_ids() {
    let twice = minimal(json!({"webhooks": [{"url": "https://a/b?x=1"}, {"url": "https://a/b?x=2"}]}));
    let refused = rule_of(read_document(&twice).unwrap().remove(0), None).unwrap_err();
    assert!(refused[0].problem.ends_with("give each an `id` of its own"), "{refused:?}");
}

#[test]
fn the_difference_names_every_change_and_no_secret() {
    let before = stored();
    let definition = json!({
        "display_name": "renamed", "sampling_rate": 0.5, "is_enabled": false, "relay_secret": "other-s3cret",
        "webhooks": [{
            "id": "oncall", "url": "https://example.org/hook?secret=query-s3cret", "headers": {"x-new": "new-s3cret"},
        }],
    });
    let after = rule_of(read_rule(&definition).unwrap(), Some(&before)).unwrap();
    let lines = changes(&before, &after);
    assert!(!lines.join("\n").contains("s3cret"), "{lines:#?}");
    assert_eq!(
        lines,
        [
            r#"display_name: "errors" -> "renamed""#,
            "is_enabled: true -> false",
            "sampling_rate: 1.0 -> 0.5",
            "relay_secret: changed",
            &format!("webhooks.{}: removed, https://example.com/other?********", before.webhooks[1].id),
            "webhooks.oncall.url: https://example.com/hook?******** -> https://example.org/hook?********",
            "webhooks.oncall.headers.authorization: removed",
            "webhooks.oncall.headers.x-new: added",
            concat!(
                r#"webhooks.oncall.plugins: [{"name":"errors-only","config":{},"on_error":"hold"},"#,
                r#"{"name":"redact","config":{"pointers":["/inputs"]},"on_error":"skip"}] -> []"#
            ),
        ]
    );
}

#[test]
fn a_patch_keeps_what_it_does_not_name() {
    let before = stored();
    let patch = json!({"display_name": "errors", "sampling_rate": 0.25});
    let after = rule_of(patched(&before, &patch).unwrap(), Some(&before)).unwrap();
    assert_eq!(changes(&before, &after), ["sampling_rate: 1.0 -> 0.25"]);
    let closed = json!({"display_name": "errors", "sampling_rate": 1.0, "relay_secret": null});
    let after = rule_of(patched(&before, &closed).unwrap(), Some(&before)).unwrap();
    assert_eq!(changes(&before, &after), ["relay_secret: removed"]);
}

#[test]
fn a_patch_repeats_name_and_rate_and_keeps_the_id() {
    let before = stored();
    assert_eq!(patched(&before, &json!({})).unwrap_err().len(), 2);
    let other = json!({"display_name": "a", "sampling_rate": 1, "id": "11111111-5a51-4c38-9d5e-0d7a3c1f9b10"});
    assert_eq!(patched(&before, &other).unwrap_err()[0].at, "id");
}

fn looking(extra: Value) -> RuleDefinition {
    read_document(&minimal(extra)).unwrap().remove(0)
}

#[test]
fn a_project_is_named_by_id_or_name_and_both_have_to_agree() {
    let known = Project { id: ProjectId::generate(), name: "p".to_owned(), created_at: Timestamp::UNIX_EPOCH };
    let resolved = |extra: Value| {
        let definition = looking(extra);
        resolve(definition, None, RuleId::generate(), std::slice::from_ref(&known), "", Timestamp::UNIX_EPOCH)
    };
    for extra in [
        json!({"session_name": "p"}),
        json!({"session_id": known.id}),
        json!({"session_id": known.id, "session_name": "p"}),
    ] {
        assert_eq!(resolved(extra).unwrap().source.unwrap().project, known);
    }
    let fresh = resolved(json!({"session_name": "q"})).unwrap().source.unwrap().project;
    assert_eq!(fresh.name, "q");
    let wrong = |extra: Value| resolved(extra).unwrap_err()[0].to_string();
    assert!(wrong(json!({"session_id": known.id, "session_name": "q"})).starts_with("session_name: is `q`"));
    assert!(wrong(json!({"session_id": ID})).starts_with("session_id: there is no project"));
}

#[test]
fn what_is_about_runs_needs_a_project_and_a_filter_that_is_understood() {
    assert_eq!(
        problems(&minimal(json!({"filter": "eq(is_root, true)"}))),
        ["rules[0].filter: is about runs of a project; name it with `session_name` or `session_id`"]
    );
    let unclear = problems(&minimal(json!({"session_name": "p", "tree_filter": "eq(naem, 1)"})));
    assert!(
        unclear[0].starts_with("rules[0].tree_filter: there is no field `naem`; did you mean `name`?"),
        "{unclear:?}"
    );
    let long = problems(&minimal(json!({"session_name": "p", "window_seconds": 0.5})));
    assert_eq!(long, ["rules[0].window_seconds: is 0.5; a window lasts 1 to 86400 whole seconds"]);
}

#[test]
fn a_backfill_is_asked_for_when_the_rule_is_made_and_never_after() {
    let made = |extra: Value, before: Option<&Rule>| {
        resolve(looking(extra), before, RuleId::generate(), &[], "", Timestamp::UNIX_EPOCH)
    };
    let given = json!({"session_name": "p", "backfill_from": "2026-07-01T09:00:00"});
    let rule = made(given.clone(), None).unwrap();
    assert_eq!(rule.source.as_ref().unwrap().backfill_from.unwrap().to_string(), "2026-07-01T09:00:00Z");
    assert!(made(given, Some(&rule)).is_ok());
    let later = json!({"session_name": "p", "backfill_from": "2026-08-01T09:00:00Z"});
    assert!(made(later, Some(&rule)).unwrap_err()[0].to_string().starts_with("backfill_from: acts only"));
}

#[test]
fn a_rule_that_looks_for_runs_is_shown_and_can_be_sent_back() {
    let given = json!({
        "session_name": "p", "filter": "eq(is_root, true)", "trace_filter": "has(tags, \"x\")", "window_seconds": 60,
        "include_extended_stats": true,
    });
    let rule = resolve(looking(given), None, RuleId::generate(), &[], "", Timestamp::UNIX_EPOCH).unwrap();
    let projects = [rule.source.as_ref().unwrap().project.clone()];
    let again = read_rule(&show(&rule)).unwrap();
    let again = resolve(again, Some(&rule), rule.id, &projects, "", Timestamp::UNIX_EPOCH).unwrap();
    assert!(is_same(&rule, &again), "{:?}", changes(&rule, &again));
}

#[test]
fn a_patch_that_names_the_project_one_way_means_it_alone() {
    let rule = resolve(looking(json!({"session_name": "p"})), None, RuleId::generate(), &[], "", Timestamp::UNIX_EPOCH);
    let patched = patched(&rule.unwrap(), &json!({"display_name": "a", "sampling_rate": 1, "session_id": ID})).unwrap();
    let source = patched.source.unwrap();
    assert_eq!((source.project_id.unwrap().to_string().as_str(), source.project_name), (ID, None));
}

#[test]
fn a_mask_inside_a_value_is_not_kept_for_a_secret() {
    let rule = stored();
    let mut shown = show(&rule);
    shown["webhooks"][0]["headers"]["authorization"] = json!(format!("Bearer {MASK}"));
    let definition = read_rule(&shown).unwrap();
    let wrong = rule_of(definition, Some(&rule)).unwrap_err();
    assert!(wrong[0].to_string().contains("has a masked part"), "{wrong:?}");
}
