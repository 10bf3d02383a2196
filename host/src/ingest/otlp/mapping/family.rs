//! Attributes whose keys are paths, as the tree they stand for: `0.message.role`, `tool_calls.1.function.name`.
//!
//! Segments that are numbers make a list, in their order; gaps close. Where a key is the beginning of another one and so
//! both a leaf and a branch, the longer key stays a key. Sizes are those of the attributes: no number makes a list longer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::ingest::otlp::value::{Object, Value};

/// How many levels keys make; the rest of a longer key stays one key.
const LEVELS_MAX: usize = 8;

enum Node<'a> {
    Leaf(Value<'a>),
    Branch(BTreeMap<String, Node<'a>>),
}

/// The tree of a family. None where there are no attributes.
pub(super) fn tree<'a>(members: Object<'a>) -> Option<Value<'a>> {
    let mut root = BTreeMap::new();
    for (key, value) in members {
        put(&mut root, &key, value, LEVELS_MAX);
    }
    (!root.is_empty()).then(|| value(Node::Branch(root)))
}

/// Sorted keys put a leaf before the branches that begin with it.
fn put<'a>(branch: &mut BTreeMap<String, Node<'a>>, key: &str, value: Value<'a>, levels_left: usize) {
    let path = key.split_once('.').filter(|_| levels_left > 1);
    let Some((first, rest)) = path else {
        branch.insert(key.to_owned(), Node::Leaf(value));
        return;
    };
    match branch.entry(first.to_owned()).or_insert_with(|| Node::Branch(BTreeMap::new())) {
        Node::Branch(inner) => put(inner, rest, value, levels_left - 1),
        Node::Leaf(_) => {
            branch.insert(key.to_owned(), Node::Leaf(value));
        }
    }
}

fn value(node: Node<'_>) -> Value<'_> {
    let branch = match node {
        Node::Leaf(value) => return value,
        Node::Branch(branch) => branch,
    };
    let is_list = branch.keys().all(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_list {
        return Value::Object(branch.into_iter().map(|(key, node)| (Cow::Owned(key), value(node))).collect());
    }
    let mut elements: Vec<_> = branch.into_iter().collect();
    elements.sort_by_cached_key(|(index, _)| (index.trim_start_matches('0').len(), index.clone()));
    Value::List(elements.into_iter().map(|(_, node)| value(node)).collect())
}

/// The messages of a family; what stands under `message` goes one level up.
pub(super) fn messages(members: Object<'_>) -> Option<Value<'_>> {
    Some(match tree(members)? {
        Value::List(messages) => Value::List(messages.into_iter().map(flat).collect()),
        other => other,
    })
}

fn flat(message: Value<'_>) -> Value<'_> {
    let Value::Object(mut members) = message else { return message };
    match members.remove("message") {
        Some(Value::Object(mut inner)) => {
            inner.extend(members);
            Value::Object(inner)
        }
        Some(other) => {
            members.insert(Cow::Borrowed("message"), other);
            Value::Object(members)
        }
        None => Value::Object(members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family<'a>(pairs: &[(&'a str, &'a str)]) -> Object<'a> {
        pairs.iter().map(|(key, text)| (Cow::Borrowed(*key), Value::text(*text))).collect()
    }

    fn json(value: Option<Value<'_>>) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn numbers_make_lists_in_their_order() {
        let pairs = [("10.role", "c"), ("2.role", "b"), ("0.role", "a"), ("0.parts.0", "x"), ("0.parts.1.y", "z")];
        let expected = r#"[{"parts":["x",{"y":"z"}],"role":"a"},{"role":"b"},{"role":"c"}]"#;
        assert_eq!(json(tree(family(&pairs))), expected);
        assert_eq!(json(tree(Object::new())), "null");
    }

    #[test]
    fn a_leaf_that_is_a_branch_too_loses_nothing() {
        let pairs = [("content", "a"), ("content.0.text", "b"), ("content.1", "c")];
        assert_eq!(json(tree(family(&pairs))), r#"{"content":"a","content.0.text":"b","content.1":"c"}"#);
    }

    #[test]
    fn keys_without_end_make_no_tree_without_end() {
        let key = "a.".repeat(100_000);
        let text = json(tree(family(&[(&key, "x")])));
        assert_eq!(text.matches('{').count(), LEVELS_MAX);
        let index = "9".repeat(1000);
        assert_eq!(json(tree(family(&[(&index, "x")]))), r#"["x"]"#);
    }

    #[test]
    fn a_message_within_a_message_goes_up() {
        let pairs = [("0.message.role", "user"), ("0.finish_reason", "stop"), ("1.message", "text")];
        let expected = r#"[{"finish_reason":"stop","role":"user"},{"message":"text"}]"#;
        assert_eq!(json(messages(family(&pairs))), expected);
    }
}
