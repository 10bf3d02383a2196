//! The evaluator against a second one that takes the description of the language literally, over generated runs and filters.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::filter::condition;

/// A filter as the tests make it.
#[derive(Clone, Debug)]
enum Tree {
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
    /// Function, field, literal.
    Leaf(&'static str, &'static str, Value),
}

/// The form with calls only.
fn calls(tree: &Tree) -> String {
    let list = |trees: &[Tree]| trees.iter().map(calls).collect::<Vec<_>>().join(", ");
    match tree {
        Tree::And(operands) => format!("and({})", list(operands)),
        Tree::Or(operands) => format!("or({})", list(operands)),
        Tree::Not(inside) => format!("not({})", calls(inside)),
        Tree::Leaf(function, field, literal) => format!("{function}({field}, {literal})"),
    }
}

/// The form with operators, as far as there are any.
fn infix(tree: &Tree) -> String {
    let chain = |trees: &[Tree], operator: &str| trees.iter().map(operand).collect::<Vec<_>>().join(operator);
    match tree {
        Tree::And(operands) | Tree::Or(operands) if operands.len() == 1 => calls(tree),
        Tree::And(operands) => chain(operands, " and "),
        Tree::Or(operands) => chain(operands, " OR "),
        Tree::Not(inside) => format!("not {}", operand(inside)),
        Tree::Leaf(function, field, literal) => match operator(function) {
            Some(operator) => format!("{field} {operator} {literal}"),
            None => calls(tree),
        },
    }
}

/// In parentheses, which a comparison does not need and is the same with.
fn operand(tree: &Tree) -> String {
    match tree {
        Tree::Leaf("eq", ..) => infix(tree),
        _ => format!("({})", infix(tree)),
    }
}

fn operator(function: &str) -> Option<&'static str> {
    let operators = [("eq", "="), ("neq", "!="), ("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="), ("in", "in")];
    let words = [("like", "LIKE"), ("notlike", "notlike")];
    operators.into_iter().chain(words).find(|(name, _)| *name == function).map(|(_, operator)| operator)
}

/// A run as plain JSON: single fields, and for each family its entries as objects.
struct Document {
    fields: Value,
    families: [Vec<Value>; 4],
}

fn document(run: &Run, feedback: &[Feedback]) -> Document {
    let parse =
        |text: &Option<bytestring::ByteString>| serde_json::from_str(text.as_deref().unwrap_or("null")).unwrap();
    let status = match run.status {
        Status::Success => "success",
        Status::Error => "error",
        Status::Pending => "pending",
    };
    let latency = run.end_time.map(|end| end.duration_since(run.start_time).as_secs_f64());
    let fields = json!({
        "name": run.name, "status": status, "is_root": run.parent.is_none(), "latency": latency, "error": run.error,
        "parent_run_id": run.parent.map(|id| id.to_string()), "tags": run.tags,
    });
    let extra: Value = parse(&run.extra);
    let judged = feedback.iter().map(|given| {
        let value: Value = parse(&given.value);
        let value =
            if value.is_null() { Value::Null } else { value.as_str().map_or(value.to_string(), str::to_owned).into() };
        json!({ "key": given.key, "score": given.score, "value": value })
    });
    let families = [
        leaves("", &extra["metadata"]),
        leaves("", &parse(&run.inputs)),
        leaves("", &parse(&run.outputs)),
        judged.collect(),
    ];
    Document { fields, families }
}

fn leaves(path: &str, value: &Value) -> Vec<Value> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().flat_map(|(key, value)| leaves(&below(key), value)).collect()
        }
        Value::Array(elements) if !elements.is_empty() => {
            elements.iter().flat_map(|element| leaves(path, element)).collect()
        }
        Value::Object(_) | Value::Array(_) => vec![json!({ "key": path, "value": null })],
        Value::Null if path.is_empty() => Vec::new(),
        Value::String(_) | Value::Null => vec![json!({ "key": path, "value": value })],
        other => vec![json!({ "key": path, "value": other.to_string() })],
    }
}

/// Which family a field is of, and which part of an entry.
fn part(field: &str) -> Option<(usize, &str)> {
    let (family, part) = field.split_once('_')?;
    let family = ["metadata", "input", "output", "feedback"].iter().position(|known| *known == family)?;
    Some((family, part))
}

/// Whether a leaf is the opposite of another, with that other.
fn positive(function: &'static str, literal: &Value) -> (bool, &'static str) {
    match (function, literal.is_null()) {
        ("eq", true) => (true, "neq"),
        ("neq", true) => (false, "neq"),
        ("neq", false) => (true, "eq"),
        ("notlike", _) => (true, "like"),
        (function, _) => (false, function),
    }
}

fn passes(function: &str, value: &Value, literal: &Value) -> bool {
    if value.is_null() {
        return false;
    }
    let as_number = |text: &Value| text.as_f64().or_else(|| text.as_str()?.parse().ok());
    let order = || match (value, literal) {
        (Value::Bool(value), Value::Bool(literal)) => Some(value.cmp(literal)),
        (_, Value::Number(_)) => as_number(value)?.partial_cmp(&literal.as_f64()?),
        (_, Value::Bool(is_true)) => Some(value.as_str()?.cmp(if *is_true { "true" } else { "false" })),
        _ => Some(value.as_str()?.cmp(literal.as_str()?)),
    };
    match function {
        "in" => literal.as_array().unwrap().iter().any(|literal| passes("eq", value, literal)),
        "like" => {
            let inside = literal.as_str().unwrap().trim_matches('%');
            value.as_str().unwrap().contains(inside)
        }
        "neq" => true,
        "eq" | "has" => order().is_some_and(|order| order.is_eq()),
        "gt" => order().is_some_and(|order| order.is_gt()),
        "gte" => order().is_some_and(|order| order.is_ge()),
        "lt" => order().is_some_and(|order| order.is_lt()),
        "lte" => order().is_some_and(|order| order.is_le()),
        other => panic!("{other}"),
    }
}

/// One entry for each family, or none where a family's conditions are taken alone.
type Choice<'d> = [Option<&'d Value>; 4];

impl Document {
    fn holds(&self, tree: &Tree, choice: &Choice<'_>) -> bool {
        match tree {
            Tree::Or(operands) => operands.iter().any(|operand| self.holds(operand, &[None; 4])),
            Tree::And(operands) => {
                let choices = self.choices(operands);
                choices.iter().any(|choice| operands.iter().all(|operand| self.holds(operand, choice)))
            }
            Tree::Not(inside) => !self.holds(inside, choice),
            Tree::Leaf("exists", field, path) => {
                let family = ["metadata", "inputs", "outputs"].iter().position(|known| known == field).unwrap();
                let path = path.as_str().unwrap();
                let keys = self.families[family].iter().map(|entry| entry["key"].as_str().unwrap());
                keys.into_iter().any(|key| key == path || key.starts_with(&format!("{path}.")))
            }
            Tree::Leaf(function, field, literal) => {
                let (is_opposite, function) = positive(function, literal);
                let values: Vec<&Value> = match part(field) {
                    Some((family, part)) => match choice[family] {
                        Some(entry) => vec![&entry[part]],
                        None => self.families[family].iter().map(|entry| &entry[part]).collect(),
                    },
                    None if *field == "tags" => self.fields["tags"].as_array().unwrap().iter().collect(),
                    None => vec![&self.fields[*field]],
                };
                values.into_iter().any(|value| passes(function, value, literal)) != is_opposite
            }
        }
    }

    /// All ways to take one entry of each family that some operand speaks positively about.
    fn choices(&self, operands: &[Tree]) -> Vec<Choice<'_>> {
        let mut choices: Vec<Choice<'_>> = vec![[None; 4]];
        for family in 0..4 {
            if operands.iter().any(|operand| speaks_of(operand, family, false)) {
                choices = choices
                    .into_iter()
                    .flat_map(|choice| {
                        self.families[family].iter().map(move |entry| {
                            let mut choice = choice;
                            choice[family] = Some(entry);
                            choice
                        })
                    })
                    .collect();
            }
        }
        choices
    }
}

fn speaks_of(tree: &Tree, wanted: usize, is_negated: bool) -> bool {
    match tree {
        Tree::Not(inside) => speaks_of(inside, wanted, !is_negated),
        Tree::Leaf(function, field, literal) => {
            part(field).is_some_and(|(family, _)| family == wanted) && positive(function, literal).0 == is_negated
        }
        _ => false,
    }
}

fn leaf() -> impl Strategy<Value = Tree> {
    let text = || prop::sample::select(vec![json!("a"), json!("b"), json!("a.b"), json!("1"), json!("2.0")]);
    let number = || prop::sample::select(vec![json!(0), json!(1), json!(2.0), json!(-0.5), json!(1e3)]);
    let scalar = move || prop_oneof![4 => text(), 2 => number(), 1 => Just(json!(true)), 1 => Just(Value::Null)];
    let equality = || prop::sample::select(vec!["eq", "neq"]);
    let ordering = || prop::sample::select(vec!["gt", "gte", "lt", "lte"]);
    let keys = prop::sample::select(vec!["metadata_key", "input_key", "output_key", "feedback_key"]);
    let values = || prop::sample::select(vec!["metadata_value", "input_value", "output_value", "feedback_value"]);
    let single = prop::sample::select(vec![
        ("eq", "name", json!("a")),
        ("neq", "name", json!("b")),
        ("eq", "status", json!("error")),
        ("in", "status", json!(["success", "pending"])),
        ("eq", "is_root", json!(true)),
        ("gt", "latency", json!(1)),
        ("lte", "latency", json!(1.5)),
        ("neq", "latency", json!(1)),
        ("eq", "error", Value::Null),
        ("like", "error", json!("%a%")),
        ("neq", "parent_run_id", Value::Null),
        ("has", "tags", json!("a")),
        ("neq", "tags", json!("a")),
        ("notlike", "tags", json!("%b%")),
        ("eq", "tags", Value::Null),
        ("exists", "metadata", json!("a")),
        ("exists", "inputs", json!("a.b")),
    ]);
    let entry = prop_oneof![
        4 => (equality(), keys, text()).prop_map(|(function, field, literal)| (function, field, literal)),
        4 => (equality(), values(), scalar()),
        1 => (ordering(), values(), prop_oneof![text(), number()]),
        1 => (Just("in"), values(), prop::collection::vec(prop_oneof![text(), number()], 1..3).prop_map(Value::from)),
        1 => (prop::sample::select(vec!["like", "notlike"]), values(), Just(json!("%1%"))),
        2 => (equality(), Just("feedback_score"), prop_oneof![number(), Just(Value::Null)]),
        2 => (ordering(), Just("feedback_score"), number()),
    ];
    prop_oneof![1 => single, 3 => entry].prop_map(|(function, field, literal)| Tree::Leaf(function, field, literal))
}

fn tree() -> impl Strategy<Value = Tree> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..5).prop_map(Tree::And),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Or),
            1 => inner.prop_map(|inside| Tree::Not(Box::new(inside))),
        ]
    })
}

fn json_object() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!("a"),
        json!("b"),
        json!("1"),
        json!(1),
        json!(2.0),
        json!(true),
        json!(null),
        json!([]),
    ]);
    let inner = prop_oneof![
        3 => leaf.clone(),
        1 => prop::collection::vec(leaf.clone(), 0..3).prop_map(Value::from),
        1 => leaf.prop_map(|leaf| json!({ "b": leaf })),
    ];
    prop::collection::hash_map("[ab]", inner, 1..3).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn any_run() -> impl Strategy<Value = Run> {
    let document = || prop::option::of(json_object());
    let latency = prop::sample::select(vec![None, Some(500), Some(1000), Some(1500)]);
    let status = prop::sample::select(vec![Status::Success, Status::Error, Status::Pending]);
    let text = "[ab]{1,2}";
    (document(), document(), document(), latency, status, any::<bool>(), prop::collection::vec(text, 0..3), text)
        .prop_map(|(metadata, inputs, outputs, latency, status, is_root, tags, name)| Run {
            extra: metadata.map(|metadata| json!({ "metadata": metadata }).to_string().into()),
            inputs: inputs.map(|inputs| inputs.to_string().into()),
            outputs: outputs.map(|outputs| outputs.to_string().into()),
            end_time: latency.map(|millis| run().start_time + jiff::SignedDuration::from_millis(millis)),
            status,
            error: (status == Status::Error).then(|| name.clone()),
            parent: (!is_root).then_some(RunId(Uuid::from_u128(3))),
            tags,
            name,
            ..run()
        })
}

fn any_feedback() -> impl Strategy<Value = Vec<Feedback>> {
    let score = prop::sample::select(vec![None, Some(0.0), Some(1.0), Some(-0.5)]);
    let value = prop::sample::select(vec![None, Some("\"a\""), Some("1"), Some("true"), Some("null")]);
    let one = ("[ab]", score, value)
        .prop_map(|(key, score, value)| Feedback { value: value.map(Into::into), ..feedback(&key, score) });
    prop::collection::vec(one, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn filters_say_what_the_description_says(tree in tree(), run in any_run(), feedback in any_feedback()) {
        let expected = document(&run, &feedback).holds(&tree, &[None; 4]);
        prop_assert_eq!(is_matched(&calls(&tree), &run, &feedback), expected, "{}", calls(&tree));
    }

    #[test]
    fn both_forms_mean_the_same(tree in tree()) {
        prop_assert_eq!(condition(&infix(&tree)).unwrap(), condition(&calls(&tree)).unwrap(), "{}", infix(&tree));
    }

    #[test]
    fn no_text_makes_the_parser_panic(source in any::<String>()) {
        let _ = Filter::parse(&source).map_err(|error| error.to_string());
    }

    #[test]
    fn no_sequence_of_tokens_makes_the_parser_panic(tokens in prop::collection::vec(prop::sample::select(vec![
        "and", "or", "not", "eq", "in", "search", "has", "exists", "like", "name", "metadata_key", "latency", "error", "(",
        "(", ")", ")", "[", "]", ",", "\"", "\"a\"", "'{}'", "\\u", "1", "-", "5s", "null", "true", "=", "<=", "!=", " ", "é",
    ]), 0..24)) {
        let _ = Filter::parse(&tokens.join(" ")).map_err(|error| error.to_string());
    }

    #[test]
    fn every_text_can_be_written_in_quotes(text in any::<String>()) {
        let run = Run { name: text.clone(), ..run() };
        let double = format!("eq(name, {})", json!(text));
        prop_assert!(is_matched(&double, &run, &[]), "{}", double);
        let single = format!("name = '{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
        prop_assert!(is_matched(&single, &run, &[]), "{}", single);
    }

    #[test]
    fn no_document_makes_a_match_panic(text in any::<String>(), tree in tree()) {
        let text = bytestring::ByteString::from(text);
        let run = Run { inputs: Some(text.clone()), outputs: Some(text.clone()), extra: Some(text), ..run() };
        let _ = is_matched(&calls(&tree), &run, &[]);
        let _ = is_matched(r#"search("aa") or has(metadata, '{"a":1}')"#, &run, &[]);
    }
}
