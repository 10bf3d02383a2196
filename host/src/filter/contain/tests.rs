use proptest::prelude::*;

use super::*;

fn is_in(wanted: &str, text: &str) -> bool {
    Containment::new(wanted).unwrap().is_in(Some(text), None)
}

#[test]
fn objects_are_contained_member_by_member() {
    let text = r#"{"k":"v","n":1,"o":{"a":true,"b":null},"l":["x",{"y":2,"z":3}]}"#;
    let contained = ["{}", r#"{"k":"v"}"#, r#"{"n":1.0,"k":"v"}"#, r#"{"o":{"b":null}}"#, r#"{"l":[]}"#];
    for wanted in contained.into_iter().chain([r#"{"l":["x"]}"#, r#"{"l":[{"z":3},"x","x"]}"#, r#"{"o":{}}"#]) {
        assert!(is_in(wanted, text), "{wanted}");
    }
    for wanted in [r#"{"k":"w"}"#, r#"{"v":"k"}"#, r#"{"o":[]}"#, r#"{"l":"x"}"#, r#"{"l":["y"]}"#, r#"{"n":"1"}"#] {
        assert!(!is_in(wanted, text), "{wanted}");
    }
    assert!(is_in(r#"{"n":9007199254740993}"#, r#"{"n":9007199254740993}"#));
    assert!(!is_in(r#"{"n":9007199254740993}"#, r#"{"n":9007199254740992}"#));
}

#[test]
fn members_may_be_split_over_no_two_elements() {
    assert!(!is_in(r#"{"l":[{"a":1,"b":2}]}"#, r#"{"l":[{"a":1},{"b":2}]}"#));
}

#[test]
fn only_a_small_object_can_be_wanted() {
    assert!(["[]", "1", "{", "", "\"k\""].into_iter().all(|text| Containment::new(text).is_none()));
    let many = |count: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(count - 3));
    assert!(Containment::new(&many(CONTAINMENT_VALUES_MAX)).is_some());
    assert!(Containment::new(&many(CONTAINMENT_VALUES_MAX + 1)).is_none());
}

#[test]
fn depth_is_walked_only_where_it_is_asked_for() {
    let deep = format!("{{\"deep\":{}{},\"k\":1}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(is_in(r#"{"k":1}"#, &deep) && is_in(r#"{"deep":[[[]]]}"#, &deep));
}

fn contains(document: &Value, wanted: &Value) -> bool {
    match (document, wanted) {
        (Value::Object(document), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| document.get(key).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(document), Value::Array(wanted)) => {
            wanted.iter().all(|value| document.iter().any(|found| contains(found, value)))
        }
        _ => document == wanted,
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let object = prop::collection::hash_map("[ab]", inner.clone(), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            object.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn one_walk_finds_what_the_definition_finds(document in json(), wanted in json()) {
        let (document, wanted) = (serde_json::json!({ "a": document }), serde_json::json!({ "a": wanted }));
        prop_assert_eq!(is_in(&wanted.to_string(), &document.to_string()), contains(&document, &wanted));
        prop_assert!(is_in(&document.to_string(), &document.to_string()));
    }
}
