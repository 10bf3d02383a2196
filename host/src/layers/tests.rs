//! Runs out of captured and made-up halves, and the laws of halves.

use bytestring::ByteString;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::Timestamp;
use crate::model::ids::{ProjectId, RunId};
use crate::model::project::ProjectRef;
use crate::model::run::{Costs, Status, Tokens};

const LLM: &str = "01a20a1f-dd6a-7b89-980c-b967e581e63f";
const ROOT: &str = "01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4";

/// Halves that SDKs sent, with the parts put in and without nulls, as intake stores them.
macro_rules! captured {
    ($name:literal) => {
        ByteString::from_static(include_str!(concat!("captured/", $name, ".json")))
    };
}

fn id(text: &str) -> RunId {
    text.parse().unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn stored_at() -> Timestamp {
    instant("2026-12-01T00:00:00Z")
}

fn project() -> ProjectId {
    "6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5".parse().unwrap()
}

fn whole(post: Option<&ByteString>, patch: Option<&ByteString>) -> Run {
    run(id(LLM), project(), stored_at(), post, patch).unwrap()
}

fn of_post(document: Value) -> Run {
    whole(Some(&document.to_string().into()), None)
}

fn head_of(post: Option<&ByteString>, patch: Option<&ByteString>) -> Head {
    let bytes = |half: Option<&ByteString>| half.map(|half| half.as_bytes().clone());
    head(bytes(post).as_deref(), bytes(patch).as_deref()).unwrap()
}

#[test]
fn a_python_run_is_made_of_its_post_and_patch() {
    let (post, patch) = (captured!("python-llm-post"), captured!("python-llm-patch"));
    let run = whole(Some(&post), Some(&patch));
    assert_eq!((&*run.name, &*run.run_type, run.status), ("fake-llm", "llm", Status::Success));
    assert_eq!((run.trace, run.parent), (id(ROOT), Some(id(ROOT))));
    assert_eq!(run.start_time, instant("2026-11-23T20:36:30.186075Z"));
    assert_eq!(run.end_time, Some(instant("2026-11-23T20:36:30.186329Z")));
    assert_eq!(run.tokens, Tokens { prompt: 5, completion: 2, total: 7 });
    assert_eq!(run.tags, ["prod"]);
    assert_eq!(ancestors(&run.dotted_order).collect::<Vec<_>>(), [id(ROOT)]);
    assert_eq!(run.inputs.as_deref(), Some(r#"{"messages":[{"role":"user","content":"hello"}]}"#));
    assert!(run.outputs.as_deref().unwrap().starts_with(r#"{"choices":"#), "the post's {{}} does not hold");
    assert_eq!(
        run.extra.as_deref(),
        document::member(&patch, "extra"),
        "the patch's lacks nothing, so it is taken whole"
    );
    assert_eq!(run.serialized.as_deref(), Some(r#"{"name":"fake-llm"}"#));
    assert_eq!(thread_id(&run).as_deref(), Some("t-1"));
}

#[test]
fn a_python_run_with_an_error_has_its_text() {
    let (post, patch) = (captured!("python-tool-post"), captured!("python-tool-patch"));
    let run = whole(Some(&post), Some(&patch));
    assert_eq!(run.status, Status::Error);
    assert!(run.error.unwrap().starts_with("ValueError('boom')\n\nTraceback"));
    assert_eq!(run.outputs.as_deref(), Some(r#"{"output":null}"#));
    assert_eq!(whole(Some(&post), None).status, Status::Pending);
}

#[test]
fn a_javascript_end_is_in_milliseconds() {
    let (post, patch) = (captured!("javascript-llm-post"), captured!("javascript-llm-patch"));
    let run = whole(Some(&post), Some(&patch));
    assert_eq!(run.start_time, instant("2026-11-23T20:38:16.555002Z"));
    assert_eq!(run.end_time, Some(instant("2026-11-23T20:38:16.555Z")));
    assert_eq!(run.parent, Some(id("01a20a21-7cd8-7000-8000-02556ffdde73")));
    assert_eq!((run.status, run.tags.len()), (Status::Success, 0));
}

#[test]
fn a_run_without_place_is_the_root_of_its_own_trace() {
    let (post, patch) = (captured!("python-single-post"), captured!("python-single-patch"));
    let id = id("58627322-53c1-45a0-b271-1d71a7e98510");
    let run = run(id, project(), stored_at(), Some(&post), Some(&patch)).unwrap();
    assert_eq!((run.trace, run.parent, run.is_root()), (id, None, true));
    assert_eq!(run.dotted_order, format!("20261123T203940386832Z{id}"));
    assert_eq!(run.end_time, Some(instant("2026-11-23T20:39:40.389008Z")), "a time without a zone is UTC");
    assert_eq!((&*run.name, run.error.as_deref()), ("r2", Some("boom")));
    let head = head_of(Some(&post), Some(&patch));
    assert_eq!((head.trace, head.project), (None, Some(ProjectRef::Name("p".to_owned()))));
}

#[test]
fn a_patch_that_comes_first_is_a_run_too() {
    let patch = captured!("python-llm-patch");
    let run = whole(None, Some(&patch));
    assert_eq!((&*run.name, run.status, run.inputs), ("fake-llm", Status::Success, None));
    let bare = whole(None, Some(&r#"{"end_time":"2026-11-23T20:39:40Z"}"#.into()));
    assert_eq!((&*bare.name, &*bare.run_type), ("", "chain"));
    assert_eq!(bare.start_time, instant("2026-11-23T20:39:40Z"));
    assert_eq!(whole(None, None).start_time, stored_at());
}

#[test]
fn a_child_without_place_is_in_its_parents_trace() {
    let run = of_post(json!({"parent_run_id": ROOT, "start_time": 0, "dotted_order": ""}));
    assert_eq!((run.trace, run.parent), (id(ROOT), Some(id(ROOT))));
    assert_eq!(run.dotted_order, format!("19700101T000000000000Z{LLM}"));
}

#[test]
fn place_and_start_are_read_from_the_dotted_order() {
    let dotted = format!("20261123T203630175445Z{ROOT}.20261123T203630186075Z{LLM}");
    let run = of_post(json!({"dotted_order": dotted}));
    assert_eq!((run.trace, run.parent), (id(ROOT), Some(id(ROOT))));
    assert_eq!(run.start_time, instant("2026-11-23T20:36:30.186075Z"));
    assert_eq!(run.dotted_order, dotted);
}

#[test]
fn a_project_is_known_by_its_id_before_its_name() {
    let post: ByteString = json!({"session_name": "p", "session_id": project().to_string()}).to_string().into();
    assert_eq!(head_of(Some(&post), None).project, Some(ProjectRef::Id(project())));
    let patch: ByteString = json!({"session_id": "no uuid"}).to_string().into();
    assert_eq!(head_of(Some(&post), Some(&patch)).project, Some(ProjectRef::Name("p".to_owned())));
}

#[test]
fn a_projects_name_is_cut_and_a_blank_one_is_none() {
    let named = |name: &str| head_of(Some(&json!({"session_name": name}).to_string().into()), None).project;
    assert_eq!(named(" "), None);
    assert_eq!(named(&"ä".repeat(300)), Some(ProjectRef::Name("ä".repeat(256))));
}

#[test]
fn a_status_counts_only_where_it_says_that_the_run_is_over() {
    let cases = [
        (json!({}), Status::Pending),
        (json!({"end_time": 1}), Status::Success),
        (json!({"end_time": "some day"}), Status::Success),
        (json!({"end_time": 1, "status": "pending"}), Status::Success),
        (json!({"status": "SUCCESS"}), Status::Success),
        (json!({"status": "error"}), Status::Error),
        (json!({"status": "running"}), Status::Pending),
        (json!({"end_time": 1, "error": "x", "status": "success"}), Status::Error),
        (json!({"end_time": 1, "error": {"code": 1}}), Status::Error),
        (json!({"end_time": 1, "error": ""}), Status::Success),
        (json!({"end_time": 1, "error": null}), Status::Success),
    ];
    for (document, expected) in cases {
        let text: ByteString = document.to_string().into();
        assert_eq!(whole(Some(&text), None).status, expected, "{document}");
        assert_eq!(head_of(Some(&text), None).has_ended, expected != Status::Pending, "{document}");
    }
}

#[test]
fn an_error_that_is_no_string_keeps_its_text() {
    assert_eq!(of_post(json!({"error": {"code": 1}})).error.as_deref(), Some(r#"{"code":1}"#));
    assert_eq!(of_post(json!({"error": ""})).error, None);
}

#[test]
fn extra_patched_by_hand_keeps_what_the_post_said() {
    let post: ByteString = r#"{"extra":{"runtime":{"sdk":"x"},"metadata":{"thread_id":"t","a":1}}}"#.into();
    let patch: ByteString = r#"{"extra":{"metadata":{"a":2}}}"#.into();
    let run = whole(Some(&post), Some(&patch));
    assert_eq!(run.extra.as_deref(), Some(r#"{"runtime":{"sdk":"x"},"metadata":{"thread_id":"t","a":2}}"#));
}

#[test]
fn usage_is_read_where_clients_put_it() {
    let usage = json!({"input_tokens": 3, "output_tokens": 4.0, "input_cost": 1.5e-6, "total_cost": "0.25"});
    let own = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 9, "total_cost": 1});
    let tokens = Tokens { prompt: 3, completion: 4, total: 7 };
    let costs = Costs { prompt: Some("0.0000015".into()), completion: None, total: Some("0.25".into()) };
    let mut document = own;
    assert_eq!(of_post(document.clone()).tokens, Tokens { prompt: 1, completion: 1, total: 9 });
    document["extra"] = json!({"metadata": {"usage_metadata": usage}});
    assert_eq!((of_post(document.clone()).tokens, of_post(document.clone()).costs), (tokens, costs));
    document["outputs"] = json!({"usage_metadata": {"total_tokens": 5}});
    let run = of_post(document);
    assert_eq!(run.tokens, Tokens { prompt: 0, completion: 0, total: 5 });
    assert_eq!(run.costs.total.as_deref(), Some("0.25"), "the outputs say nothing of costs");
    assert_eq!(of_post(json!({"outputs": {"text": "\"usage_metadata\""}})).tokens, Tokens::default());
}

#[test]
fn the_first_token_is_the_first_event_of_that_name() {
    let events = json!([{"name": "start", "time": 1}, {"name": "new_token", "time": "1970-01-01T00:00:00.002Z"},
        {"name": "new_token", "time": 3}]);
    assert_eq!(of_post(json!({"events": events})).first_token_time, Some(instant("1970-01-01T00:00:00.002Z")));
    assert_eq!(of_post(json!({"events": [{"name": "end", "time": 1}]})).first_token_time, None);
}

#[test]
fn fields_of_another_kind_count_as_absent() {
    let run = of_post(json!({"name": 1, "run_type": [], "trace_id": "x", "parent_run_id": {}, "tags": ["a", 1, ["b"]],
        "dotted_order": 5, "start_time": true, "extra": 7, "events": "new_token", "reference_example_id": "e",
        "prompt_tokens": -1, "total_cost": "free", "session_id": 3, "session_name": 4}));
    assert_eq!((&*run.name, &*run.run_type, run.trace, run.parent), ("", "chain", id(LLM), None));
    assert_eq!((run.tags, run.start_time), (vec!["a".to_owned()], stored_at()));
    assert_eq!((run.tokens, run.costs, run.reference_example), Default::default());
    assert_eq!(run.extra.as_deref(), Some("7"));
}

#[test]
fn a_thread_is_named_by_one_of_three_keys() {
    let thread = |metadata: Value| thread_id(&of_post(json!({"extra": {"metadata": metadata}})));
    assert_eq!(thread(json!({"conversation_id": "c", "session_id": "s"})).as_deref(), Some("s"));
    assert_eq!(thread(json!({"thread_id": null, "conversation_id": 7})).as_deref(), Some("7"));
    assert_eq!(thread(json!({"thread_id": "", "user": "u"})), None);
    assert_eq!(thread_id(&of_post(json!({}))), None);
}

#[test]
fn depth_does_not_matter() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let wrapped = format!(r#"{{"metadata":{deep}}}"#);
    let document = |extra: &str| {
        ByteString::from(format!(
            r#"{{"inputs":{deep},"outputs":{{"usage_metadata":{deep}}},"error":{deep},"tags":{deep},"events":[{deep},"new_token"],
        "extra":{extra},"start_time":{deep}}}"#
        ))
    };
    let run = whole(Some(&document(&wrapped)), Some(&document(r#"{"metadata":{"a":1}}"#)));
    assert_eq!(run.inputs.as_deref(), Some(&*deep));
    assert_eq!(run.error.as_deref(), Some(&*deep));
    let merged = add(Some(document(&wrapped).as_bytes()), document("{}").as_bytes()).unwrap();
    assert_eq!(document::member(std::str::from_utf8(&merged).unwrap(), "inputs"), Some(&*deep));
}

#[test]
fn what_is_no_object_is_refused() {
    for broken in ["", "[]", "null", "{\"a\":1", "{} {}"] {
        let text = ByteString::from(broken);
        assert!(matches!(head(Some(broken.as_bytes()), None), Err(LayerError::Syntax(_))), "{broken}");
        assert!(run(id(LLM), project(), stored_at(), None, Some(&text)).is_err(), "{broken}");
        assert!(add(Some(b"{}"), text.as_bytes()).is_err(), "{broken}");
    }
    assert_eq!(head(Some(b"{\"a\":\"\xff\"}"), None), Err(LayerError::Utf8));
}

#[test]
fn feedback_is_read_as_it_was_captured() {
    let document = captured!("python-feedback");
    let id = "01a20a1f-dd6b-723d-bb68-69dc6c438287".parse().unwrap();
    let read = feedback(id, &document, stored_at()).unwrap();
    assert_eq!((read.run, &*read.key, read.score), (Some(super::tests::id(ROOT)), "user_score", Some(0.1235)));
    assert_eq!((read.comment.as_deref(), read.source_type.as_deref()), (Some("ok"), Some("api")));
    assert_eq!(read.created_at, instant("2026-11-23T20:36:30.187130Z"));
    assert_eq!(read.modified_at, instant("2026-11-23T20:36:30.187131Z"));
    assert_eq!((read.value, read.correction), (None, None));
}

#[test]
fn feedback_takes_scores_of_both_kinds_and_any_value() {
    let read = |document: &str| {
        feedback("01a20a1f-dd6b-723d-bb68-69dc6c438287".parse().unwrap(), &document.into(), stored_at()).unwrap()
    };
    assert_eq!(read(r#"{"score":true}"#).score, Some(1.0));
    assert_eq!(read(r#"{"score":false}"#).score, Some(0.0));
    assert_eq!(read(r#"{"score":"0.5"}"#).score, None);
    let said = read(r#"{"value":"good","correction":{ "a":1}}"#);
    assert_eq!((said.value.as_deref(), said.correction.as_deref()), (Some("\"good\""), Some("{ \"a\":1}")));
    assert_eq!((said.created_at, said.modified_at), (stored_at(), stored_at()));
    assert_eq!(read(r#"{"created_at":"2026-01-01T00:00:00Z"}"#).modified_at, instant("2026-01-01T00:00:00Z"));
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!({"a": [null, {"b": "}"}]}))
    ];
    let key = prop_oneof!["[a-d]", any::<String>()];
    prop::collection::btree_map(key, leaf, 0..6).prop_map(|fields| fields.into_iter().collect())
}

/// Fields of both halves with another value in each.
fn fields_of(half: &str) -> Vec<(&'static str, Value)> {
    let dotted = format!("20261123T203630175445Z{ROOT}.20261123T203630186075Z{LLM}");
    vec![
        ("name", json!(half)),
        ("run_type", json!("LLM")),
        ("trace_id", json!(ROOT)),
        ("parent_run_id", json!(ROOT)),
        ("dotted_order", json!(dotted)),
        ("start_time", json!("2026-11-23T20:36:30.186075+00:00")),
        ("end_time", json!(half.len() * 1000)),
        ("error", json!(half)),
        ("status", json!("error")),
        ("tags", json!([half])),
        ("inputs", json!({"of": half})),
        ("outputs", json!({"usage_metadata": {"total_tokens": half.len()}})),
        ("extra", json!({"metadata": {half: 1, "of": half}})),
        ("session_name", json!(half)),
    ]
}

/// Some of a half's fields, and in which of its writes each comes.
fn writes(half: &'static str) -> impl Strategy<Value = (Map<String, Value>, Vec<Map<String, Value>>)> {
    let count = fields_of(half).len();
    prop::collection::vec(prop::option::of(0..4_usize), count).prop_map(move |places| {
        let mut writes = vec![Map::new(); 4];
        let mut all = Map::new();
        for ((key, value), place) in fields_of(half).into_iter().zip(places) {
            if let Some(place) = place {
                writes[place].insert(key.to_owned(), value.clone());
                all.insert(key.to_owned(), value);
            }
        }
        writes.retain(|write| !write.is_empty());
        (all, writes)
    })
}

fn text(object: &Map<String, Value>) -> ByteString {
    Value::Object(object.clone()).to_string().into()
}

proptest! {
    #[test]
    fn adding_is_a_merge_of_maps(stored in object(), later in object()) {
        let merged = add(Some(text(&stored).as_bytes()), text(&later).as_bytes()).unwrap();
        let mut expected = stored;
        expected.extend(later);
        prop_assert_eq!(serde_json::from_slice::<Map<_, _>>(&merged).unwrap(), expected);
    }

    #[test]
    fn values_put_back_for_their_references_make_the_half_again(half in object(), every in 1..4_usize) {
        let whole = text(&half);
        let mut values = Vec::new();
        let key_of = |name: &str, value: &str| {
            let key = name.len().is_multiple_of(every).then(|| values.len().to_string());
            values.extend(key.is_some().then(|| value.to_owned()));
            key
        };
        let moved = with_references(&whole, key_of).unwrap();
        let mut again: Map<String, Value> = serde_json::from_str(moved.as_deref().unwrap_or(&whole)).unwrap();
        for value in again.values_mut() {
            if let Some(key) = blob(&value.to_string()) {
                *value = serde_json::from_str(&values[key.parse::<usize>().unwrap()]).unwrap();
            }
        }
        prop_assert_eq!((again, moved.is_some()), (half, !values.is_empty()));
    }

    #[test]
    fn the_first_write_is_taken_as_it_is(later in object()) {
        let later = text(&later);
        prop_assert_eq!(&add(None, later.as_bytes()).unwrap(), later.as_bytes());
    }

    #[test]
    fn a_run_does_not_depend_on_the_order_or_number_of_writes(
        (post, posts) in writes("post"),
        (patch, patches) in writes("patch"),
        order in prop::collection::vec(any::<Index>(), 8),
    ) {
        let mut arriving: Vec<_> = posts.iter().map(|write| (0, write)).chain(patches.iter().map(|write| (1, write))).collect();
        let mut halves = [None::<Bytes>, None];
        for index in order {
            if arriving.is_empty() {
                break;
            }
            let (half, write) = arriving.remove(index.index(arriving.len()));
            halves[half] = Some(add(halves[half].as_deref(), text(write).as_bytes()).unwrap());
        }
        let [posted, patched] = halves.map(|half| half.map(|half| ByteString::try_from(half).unwrap()));
        let given = |object: &Map<String, Value>| (!object.is_empty()).then(|| text(object));
        let (post, patch) = (given(&post), given(&patch));
        prop_assert_eq!(whole(posted.as_ref(), patched.as_ref()), whole(post.as_ref(), patch.as_ref()));
        prop_assert_eq!(head_of(posted.as_ref(), patched.as_ref()), head_of(post.as_ref(), patch.as_ref()));
    }

    #[test]
    fn the_head_agrees_with_the_run((_, posts) in writes("post"), (patch, _) in writes("patch")) {
        let (post, patch) = (posts.first().map(text), Some(text(&patch)));
        let (run, head) = (whole(post.as_ref(), patch.as_ref()), head_of(post.as_ref(), patch.as_ref()));
        prop_assert_eq!(head.trace_of(id(LLM)), run.trace);
        prop_assert_eq!((head.parent, head.end_time), (run.parent, run.end_time));
        prop_assert_eq!(head.has_ended, run.status != Status::Pending);
        prop_assert_eq!(head.start_time.or(head.end_time).unwrap_or(stored_at()), run.start_time);
        prop_assert_eq!((head.name.unwrap_or_default(), head.run_type.unwrap_or("chain".into())), (run.name, run.run_type));
    }
}
