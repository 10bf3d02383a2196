//! Examples for every rule, and random edits compared with `serde_json`.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::read::FIELDS;
use super::*;

fn document(json: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

fn written(document: &Document) -> String {
    String::from_utf8(document.to_bytes().to_vec()).unwrap()
}

const TWO: &str = r#"{ "rule_id":"r", "runs" : [ {"id":"a","n":1.50} , {"id":"b"} ] , "threads":[] }"#;

#[test]
fn an_untouched_document_is_the_bytes_that_came_in() {
    let source = Bytes::from_static(TWO.as_bytes());
    let document = Document::parse(source.clone()).unwrap();
    assert_eq!(document.to_bytes().as_ptr(), source.as_ptr());
    assert_eq!((document.len(), document.len_bytes()), (2, TWO.len()));
}

#[test]
fn reads_see_the_text_as_it_stands() {
    let document = document(TWO);
    let run = document.run(0).unwrap();
    assert_eq!(document.run_get(run, "/n").unwrap(), "1.50");
    assert_eq!(document.run_text(run, "/id").unwrap(), "a");
    assert_eq!(document.run_text(run, "/n"), None);
    assert_eq!(document.run_get(run, "").unwrap(), r#"{"id":"a","n":1.50}"#);
    assert_eq!(document.get("/runs/1/id").unwrap(), r#""b""#);
    assert_eq!(document.text("/rule_id").unwrap(), "r");
    assert_eq!(document.get("/runs").unwrap(), r#"[ {"id":"a","n":1.50} , {"id":"b"} ]"#);
    for nowhere in ["/x", "/runs/2", "/runs/00", "/runs/-", "/rule_id/x", "rule_id"] {
        assert_eq!(document.get(nowhere), None, "{nowhere}");
    }
}

#[test]
fn a_dropped_run_takes_its_comma_along() {
    let kept = |drop: &[usize]| {
        let mut document = document(TWO);
        let keys: Vec<_> = drop.iter().map(|index| document.run(*index).unwrap()).collect();
        keys.iter().for_each(|key| assert!(document.drop_run(*key)));
        keys.iter().for_each(|key| assert!(!document.drop_run(*key)));
        written(&document)
    };
    assert_eq!(kept(&[0]), r#"{ "rule_id":"r", "runs" : [ {"id":"b"} ] , "threads":[] }"#);
    assert_eq!(kept(&[1]), r#"{ "rule_id":"r", "runs" : [ {"id":"a","n":1.50} ] , "threads":[] }"#);
    assert_eq!(kept(&[0, 1]), r#"{ "rule_id":"r", "runs" : [] , "threads":[] }"#);
}

#[test]
fn a_key_keeps_its_meaning_when_others_are_dropped() {
    let mut document = document(TWO);
    let (first, second) = (document.run(0).unwrap(), document.run(1).unwrap());
    document.drop_run(first);
    assert_eq!(document.run(0), Some(second));
    assert_eq!(document.run_text(second, "/id").unwrap(), "b");
    assert_eq!(document.run_get(first, "/id"), None);
    assert_eq!(document.run_set(first, "/id", "1"), Err(EditError::Dropped));
}

#[test]
fn an_edit_changes_nothing_but_its_place() {
    let mut document = document(r#"{"runs":[{"a": {"b":[1, 2 ,3]}, "t":1e400}]}"#);
    let run = document.run(0).unwrap();
    document.run_set(run, "/a/b/1", " {\"x\":null} ").unwrap();
    document.run_set(run, "/a/b/-", "4").unwrap();
    document.run_set(run, "/a/new", "true").unwrap();
    assert!(document.run_remove(run, "/a/b/0"));
    assert!(!document.run_remove(run, "/a/b/9"));
    assert_eq!(written(&document), r#"{"runs":[{"a": {"b":[{"x":null} ,3,4],"new":true}, "t":1e400}]}"#);
}

#[test]
fn an_edit_that_cannot_be_says_where() {
    let mut document = document(r#"{"runs":[{"a":{"b":[1]},"s":"x"}]}"#);
    let run = document.run(0).unwrap();
    let before = written(&document);
    let mut error = |pointer, value| document.run_set(run, pointer, value).unwrap_err().to_string();
    assert_eq!(error("/x/y", "1"), "cannot set `/x/y`: there is nothing at `/x`");
    assert_eq!(error("/s/y", "1"), "cannot set `/s/y`: what stands at `/s` is neither an object nor an array");
    assert!(error("/a/b/1", "1").contains("the array at `/a/b` has 1 elements"));
    assert!(error("a", "1").contains("is not a JSON pointer"));
    assert_eq!(error("/a", "NaN"), "the value is not JSON: a value is missing at line 1, column 1");
    assert!(error("/a", "1 2").contains("something follows the document's end"));
    assert_eq!(written(&document), before);
}

#[test]
fn keys_are_compared_unescaped_and_edits_act_on_all_of_one_name() {
    let mut document = document(r#"{"runs":[{"inp\u0075ts":"one","id":1,"inputs":"two","x":2}]}"#);
    let run = document.run(0).unwrap();
    assert_eq!(document.run_text(run, "/inputs").unwrap(), "two");
    document.run_set(run, "/inputs", "0").unwrap();
    assert_eq!(document.run_get(run, "").unwrap(), r#"{"inp\u0075ts":0,"id":1,"inputs":0,"x":2}"#);
    assert!(document.run_remove(run, "/inputs"));
    assert_eq!(document.run_get(run, "").unwrap(), r#"{"id":1,"x":2}"#);
}

#[test]
fn a_redacted_secret_can_be_reached_from_no_field() {
    let source = r#"{"runs":[{"id":"a","inputs":{"q":"S3CRET"},"inputs_preview":"S3CRET","messages":["S3CRET"],
        "inputs_s3_urls":{"ROOT":{"presigned_url":"S3CRET"}},"s3_urls":{"inputs":"S3CRET","error":"kept"},"\u0069nputs":"S3CRET"}],
        "\u0072uns":[{"id":"a","inputs":{"q":"S3CRET"},"inputs_preview":"S3CRET","messages":["S3CRET"],
        "inputs_s3_urls":{"ROOT":{"presigned_url":"S3CRET"}},"s3_urls":{"inputs":"S3CRET","error":"kept"},"\u0069nputs":"S3CRET"}]}"#;
    let edits: [fn(&mut Document) -> bool; 5] = [
        |document| document.run_remove(document.run(0).unwrap(), "/inputs"),
        |document| document.run_set(document.run(0).unwrap(), "/inputs", "0").is_ok(),
        |document| document.remove("/runs/0/inputs"),
        |document| document.set("/runs/0/inputs", "0").is_ok(),
        |document| document.remove("/runs/0"),
    ];
    for (number, edit) in edits.iter().enumerate() {
        let mut document = document(source);
        assert!(edit(&mut document));
        let text = written(&document);
        assert!(!text.contains("S3CRET"), "edit {number}: {text}");
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "edit {number}: {text}");
    }
}

#[test]
fn what_a_run_keeps_elsewhere_goes_also_where_the_field_is_null() {
    let mut document = document(r#"{"runs":[{"outputs":null,"outputs_s3_urls":{"ROOT":1}}]}"#);
    let run = document.run(0).unwrap();
    assert!(document.run_remove(run, "/outputs/text"));
    assert_eq!(document.run_get(run, "").unwrap(), r#"{"outputs":null}"#);
}

#[test]
fn the_payload_outside_of_its_runs_can_be_edited() {
    let mut document = document(TWO);
    let run = document.run(1).unwrap();
    document.set("/rule_id", r#""q""#).unwrap();
    document.set("/runs/1/id", r#""c""#).unwrap();
    document.set("/added", "[]").unwrap();
    assert!(document.remove("/threads"));
    assert_eq!(document.run_text(run, "/id").unwrap(), "c");
    assert_eq!(written(&document), r#"{ "rule_id":"q", "runs" : [ {"id":"a","n":1.50} , {"id":"c"} ],"added":[] }"#);
    document.set("/runs/-", r#"{"id":"d"}"#).unwrap();
    assert_eq!(document.text("/runs/2/id").unwrap(), "d");
}

#[test]
fn all_runs_or_all_of_the_payload_can_be_replaced() {
    let mut document = document(TWO);
    let old = document.run(0).unwrap();
    document.set("/runs", r#"[{"id":"x"}, {"id":"y"}]"#).unwrap();
    assert_eq!((document.len(), document.run_get(old, "/id")), (2, None));
    assert_eq!(written(&document), r#"{ "rule_id":"r", "runs" : [{"id":"x"},{"id":"y"}] , "threads":[] }"#);
    document.set("", r#"{"runs":[{"id":"z"}]}"#).unwrap();
    assert_eq!(written(&document), r#"{"runs":[{"id":"z"}]}"#);
    assert_eq!(document.set("", "{}"), Err(EditError::Shape));
    assert_eq!(document.set("/runs", "{}"), Err(EditError::Runs));
    let mut threads = self::document(r#"{"threads":[]}"#);
    assert_eq!(threads.set("/threads", "1"), Err(EditError::Shape));
    assert!(!document.remove(""));
}

#[test]
fn the_door_takes_runs_or_threads_and_names_what_is_wrong() {
    for good in [r#"{"runs":[]}"#, r#" {"threads":[{}],"runs":null} "#, r#"{"r\u0075ns":[]}"#] {
        assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
    }
    for bad in ["[]", "1", "{}", r#"{"runs":{}}"#, r#"{"runs":[],"runs":1}"#] {
        assert_eq!(check(bad.as_bytes()), Err(DocumentError::Shape), "{bad}");
    }
    let error = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
    assert_eq!(error(b"{\"runs\":[\n  {\"\xc3\xa4\": nul}]}"), "not JSON: a value is missing at line 2, column 9");
    assert_eq!(error(b"{\"runs\":[]"), "not JSON: the document ends too early at line 1, column 11");
    assert_eq!(error(b"{\"runs\":[\"\xff\"]}"), "not JSON: the text is not UTF-8 at line 1, column 11");
    assert_eq!(error(b""), "not JSON: the document ends too early at line 1, column 1");
}

#[test]
fn depth_is_no_reason_to_refuse_a_payload() {
    let deep = format!(r#"{{"runs":[{{"inputs":{}1{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let mut document = document(&deep);
    let run = document.run(0).unwrap();
    assert_eq!(document.run_get(run, "/inputs").unwrap().len(), 200_001);
    assert!(document.run_remove(run, "/inputs"));
    assert_eq!(written(&document), r#"{"runs":[{}]}"#);
}

#[test]
fn a_pointer_too_deep_is_refused_and_a_deep_document_still_read_at_the_top() {
    let deep = format!(r#"{{"id":"a","runs":[{{"x":{}1{}}}]}}"#, r#"{"x":"#.repeat(30_000), "}".repeat(30_000));
    let mut document = document(&deep);
    let run = document.run(0).unwrap();
    assert_eq!(document.text("/id").unwrap(), "a");
    assert!(document.run_get(run, &"/x".repeat(64)).is_some());
    let too_deep = "/x".repeat(65);
    assert_eq!((document.run_get(run, &too_deep), document.get(&too_deep)), (None, None));
    assert!(!document.run_remove(run, &too_deep));
    assert!(document.run_set(run, &too_deep, "1").unwrap_err().to_string().contains("at most 64 tokens"));
    document.run_set(run, &"/x".repeat(64), "1").unwrap();
    assert!(document.len_bytes() < 1024);
}

#[test]
fn a_value_is_not_multiplied_by_duplicate_keys() {
    let twins = |value: &str| format!(r#"{{"runs":[{{{}}}]}}"#, vec![format!(r#""a":{value}"#); 1000].join(","));
    let value = format!("\"{}\"", "x".repeat(1024 * 1024));
    for (source, pointer) in [(twins("1"), "/a"), (twins("{}"), "/a/b"), (twins("[]"), "/a/-")] {
        let mut document = document(&source);
        let run = document.run(0).unwrap();
        let error = document.run_set(run, pointer, &value).unwrap_err();
        assert!(matches!(error, EditError::Twins { .. }) && error.to_string().contains("16 MiB"), "{error}");
        assert_eq!(written(&document), source);
        document.run_set(run, pointer, "2").unwrap();
        assert_eq!(written(&document).matches('2').count(), 1000);
    }
    let mut single = document(r#"{"runs":[{"a":1}]}"#);
    let large = format!("\"{}\"", "x".repeat(17 * 1024 * 1024));
    single.run_set(single.run(0).unwrap(), "/a", &large).unwrap();
}

#[test]
fn a_payload_of_too_many_pieces_is_refused_and_none_becomes_one() {
    let of_runs = |count: usize| format!(r#"[{}]"#, vec!["1"; count].join(","));
    let of_fields = |count: usize| format!("{{{}}}", vec![r#""a":1"#; count].join(","));
    let payload = |runs: &str| format!(r#"{{"runs":{runs},"b":2}}"#);
    assert_eq!(document(&payload(&of_runs(RUNS_MAX))).len(), RUNS_MAX);
    let many = payload(&of_runs(RUNS_MAX + 3));
    let error = check(many.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "too many runs: there are 50003, and a payload may have 50000");
    assert_eq!(Document::parse(Bytes::from(many)).unwrap_err(), error);
    let error = check(payload(&format!("[{}]", of_fields(FIELDS_MAX + 1))).as_bytes()).unwrap_err();
    assert!(matches!(error, DocumentError::TooMany { count, .. } if count == FIELDS_MAX + 3), "{error}");
    let broken = payload(&format!("[{},nul]", of_fields(FIELDS_MAX + 1)));
    assert!(matches!(check(broken.as_bytes()), Err(DocumentError::Syntax { .. })));

    let mut full = document(&payload(&of_runs(RUNS_MAX)));
    let too_many = |what| EditError::TooMany { what, max: if what == "runs" { RUNS_MAX } else { FIELDS_MAX } };
    assert_eq!(full.set("/runs", &of_runs(RUNS_MAX + 1)), Err(too_many("runs")));
    assert_eq!(full.set("/runs/-", "1"), Err(too_many("runs")));
    assert_eq!(full.set("", &payload(&of_runs(RUNS_MAX + 1))), Err(too_many("runs")));
    assert_eq!(full.set("/runs/0", &of_fields(FIELDS_MAX + 1)), Err(too_many(FIELDS)));
    assert_eq!(full.set("/runs", &format!("[{}]", of_fields(FIELDS_MAX + 1))), Err(too_many(FIELDS)));
    assert_eq!(written(&full), payload(&of_runs(RUNS_MAX)));
    assert!(full.remove("/runs/7"));
    full.set("/runs/-", "1").unwrap();
}

#[test]
fn doubled_runs_go_also_where_the_frame_was_edited_first() {
    let mut document = document(r#"{"runs":[{"a":"S3CRET"}],"note":1,"runs":[{"a":"S3CRET","b":1}]}"#);
    document.set("/note", "2").unwrap();
    document.run_set(document.run(0).unwrap(), "/a", "0").unwrap();
    assert_eq!(written(&document), r#"{"note":2,"runs":[{"a":0,"b":1}]}"#);
}

#[test]
fn runs_can_be_removed_only_where_threads_are_left() {
    let mut only_runs = document(r#"{"runs":[{"id":"a"}],"n":1}"#);
    assert!(!only_runs.remove("/runs") && only_runs.remove("/n"));
    assert_eq!(written(&only_runs), r#"{"runs":[{"id":"a"}]}"#);
    let mut only_threads = document(r#"{"threads":[1,2],"runs":null}"#);
    assert!(!only_threads.remove("/threads") && only_threads.remove("/threads/0") && only_threads.remove("/runs"));
    assert_eq!(written(&only_threads), r#"{"threads":[2]}"#);

    let mut both = document(r#"{"runs":[{"id":"a"}],"threads":[]}"#);
    let run = both.run(0).unwrap();
    assert!(both.remove("/runs"));
    assert_eq!((both.len(), both.has_runs(), both.run_get(run, "")), (0, false, None));
    assert!(!both.remove("/threads"));
    both.set("/runs", r#"[{"id":"b"}]"#).unwrap();
    assert_eq!(both.run_get(run, ""), None);
    assert_eq!(written(&both), r#"{"threads":[],"runs":[{"id":"b"}]}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\\u{e9}\n/~]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[ab~/\u{e9}\"]{1,2}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[derive(Clone, Debug)]
enum Edit {
    Set(usize, Vec<usize>, Value),
    Remove(usize, Vec<usize>),
    Drop(usize),
    SetTop(Value),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let path = || prop::collection::vec(0usize..5, 0..4);
    prop_oneof![
        4 => (0usize..4, path(), any_json()).prop_map(|(run, path, value)| Edit::Set(run, path, value)),
        3 => (0usize..4, path()).prop_map(|(run, path)| Edit::Remove(run, path)),
        1 => (0usize..4).prop_map(Edit::Drop),
        1 => any_json().prop_map(Edit::SetTop),
    ]
}

/// A pointer that leads to something of the value, or just beside it.
fn pointer_into(mut value: &Value, path: &[usize]) -> String {
    let mut pointer = String::new();
    for step in path {
        let token = match value {
            Value::Object(members) => {
                let Some((key, inner)) = members.iter().nth(*step) else {
                    pointer.push_str("/new~1");
                    break;
                };
                value = inner;
                key.replace('~', "~0").replace('/', "~1")
            }
            Value::Array(elements) => {
                let Some(inner) = elements.get(*step) else {
                    pointer.push_str("/-");
                    break;
                };
                value = inner;
                step.to_string()
            }
            _ => break,
        };
        pointer = format!("{pointer}/{token}");
    }
    pointer
}

/// What `set` means, on parsed values.
fn model_set(root: &mut Value, pointer: &str, value: Value) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        *root = value;
        return;
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match root.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(last, value);
        }
        Some(Value::Array(elements)) if last == "-" => elements.push(value),
        Some(Value::Array(elements)) => elements[last.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} leads to {other:?}"),
    }
}

fn model_remove(root: &mut Value, pointer: &str) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return false };
    let last = last.replace("~1", "/").replace("~0", "~");
    match root.pointer_mut(parent) {
        Some(Value::Object(members)) => members.shift_remove(&last).is_some(),
        Some(Value::Array(elements)) => match last.parse::<usize>() {
            Ok(index) if index < elements.len() => {
                elements.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn apply(document: &mut Document, model: &mut Value, edit: Edit) {
    let runs = model["runs"].as_array_mut().unwrap();
    match edit {
        Edit::Set(run, path, value) if run < runs.len() => {
            let pointer = pointer_into(&runs[run], &path);
            let key = document.run(run).unwrap();
            document.run_set(key, &pointer, &value.to_string()).unwrap();
            model_set(&mut runs[run], &pointer, value);
        }
        Edit::Remove(run, path) if run < runs.len() => {
            let pointer = pointer_into(&runs[run], &path);
            let key = document.run(run).unwrap();
            assert_eq!(document.run_remove(key, &pointer), model_remove(&mut runs[run], &pointer), "{pointer}");
        }
        Edit::Drop(run) if run < runs.len() => {
            document.drop_run(document.run(run).unwrap());
            runs.remove(run);
        }
        Edit::SetTop(value) => {
            document.set("/top", &value.to_string()).unwrap();
            model["top"] = value;
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn edits_mean_what_they_mean_in_serde_json(
        runs in prop::collection::vec(any_json(), 0..4),
        is_pretty: bool,
        edits in prop::collection::vec(any_edit(), 0..8),
    ) {
        let mut model = json!({"top": 1, "runs": runs});
        let source = if is_pretty { format!("{model:#}") } else { model.to_string() };
        let mut document = document(&source);
        for edit in edits {
            apply(&mut document, &mut model, edit);
            let text = written(&document);
            let read: Value = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
            prop_assert_eq!(&read, &model);
            prop_assert_eq!(document.len_bytes(), text.len());
        }
        for (index, run) in model["runs"].as_array().unwrap().iter().enumerate() {
            let key = document.run(index).unwrap();
            for path in [vec![0], vec![1, 0], vec![0, 1], vec![2, 2]] {
                let pointer = pointer_into(run, &path);
                let expected = run.pointer(&pointer).cloned();
                let found = document.run_get(key, &pointer).map(|text| serde_json::from_str::<Value>(&text).unwrap());
                prop_assert_eq!(found, expected, "{}", pointer);
            }
        }
    }

    #[test]
    fn json_is_what_serde_json_takes_for_json(text in r#"[\[\]{}",:0-9eE.+\- ntrufalse\\"]{0,24}"#) {
        let wrapped = format!(r#"{{"runs":[{text}]}}"#);
        let expected = serde_json::from_str::<serde::de::IgnoredAny>(&wrapped).is_ok();
        let is_json = !matches!(check(wrapped.as_bytes()), Err(DocumentError::Syntax { .. }));
        prop_assert_eq!(is_json, expected, "{}", wrapped);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = check(&bytes);
        let _ = Document::parse(Bytes::from(bytes));
    }
}
