use crate::filter::{
    CALLS_MAX, CONTAINMENT_VALUES_MAX, Filter, NESTING_MAX, PATTERN_CHARS_MAX, SEARCH_WORDS_MAX, SOURCE_BYTES_MAX,
};

/// Filters, where they are wrong (in characters from 0), and what is said.
const REFUSED: &[(&str, usize, &str)] = &[
    (r#"eq(naem, "x")"#, 3, "there is no field `naem`; did you mean `name`?"),
    (r#"equ(name, "x")"#, 0, "there is no function `equ`; did you mean `eq`?"),
    (
        r#"zzz(name, "x")"#,
        0,
        "there is no function `zzz`; there are and, or, not, eq, neq, gt, gte, lt, lte, in, like, notlike, exists, has, search",
    ),
    (
        r#"eq(qqqq, "x")"#,
        3,
        "there is no field `qqqq`; there are id, name, run_type, status, is_root, start_time, end_time, latency, first_token_latency, trace_id, parent_run_id, session_id, reference_example_id, thread_id, dotted_order, error, tags, tag, metadata, metadata_key, metadata_value, inputs, input_key, input_value, outputs, output_key, output_value, feedback_key, feedback_score, feedback_value, feedback_source, feedback_comment, total_tokens, prompt_tokens, completion_tokens, total_cost, prompt_cost, completion_cost",
    ),
    ("eq(start_time, 5)", 15, r#"`start_time` is compared with a time in quotes, such as "2026-07-01T09:00:00Z""#),
    (
        r#"eq(start_time, "yesterday")"#,
        15,
        r#"`start_time` is compared with a time in quotes, such as "2026-07-01T09:00:00Z""#,
    ),
    (
        r#"gt(latency, "5 sec")"#,
        12,
        r#"`latency` is compared with seconds, such as 1.5, or a duration in quotes with ms, s, m or h, such as "500ms""#,
    ),
    ("gt(latency, 5s)", 12, r#"`5s` is no number; put everything that is not a plain number in quotes, such as "5s""#),
    (
        r#"eq(id, "abc")"#,
        7,
        r#"`id` is compared with a UUID in quotes, such as "0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10""#,
    ),
    (r#"eq(status, "eror")"#, 11, r#"no run has the status "eror"; did you mean "error"?"#),
    (r#"eq(status, "zzz")"#, 11, r#"no run has the status "zzz"; there are "success", "error" and "pending""#),
    ("eq(run_type, llm)", 13, r#"`run_type` is compared with a text in quotes; write "llm""#),
    ("eq(name, 5)", 9, "`name` is compared with a text in quotes"),
    (r#"eq(is_root, "true")"#, 12, "`is_root` is compared with true or false without quotes"),
    (r#"gt(total_tokens, "5")"#, 17, "`total_tokens` is compared with a number without quotes"),
    ("gt(total_tokens, null)", 17, "`total_tokens` is compared with a number without quotes, not null"),
    (r#"eq(name, ["a"])"#, 9, "`name` is compared with a text in quotes, not a list, which is for `in`"),
    (r#"in(name, "a")"#, 9, r#"`in` needs a list, such as ["a", "b"]"#),
    ("in(name, [])", 9, "nothing is in an empty list"),
    (r#"in(name, ["a", 5])"#, 15, "`name` is compared with a text in quotes"),
    (r#"in(name, [["a"]])"#, 10, "unexpected `[`; expected a text in quotes, a number, true or false"),
    ("neq(error, null)", 0, r#"neq(error, null) is not supported; write eq(status, "error")"#),
    ("error != null", 6, r#"neq(error, null) is not supported; write eq(status, "error")"#),
    (r#"like(latency, "5%")"#, 0, "`like` does not apply to `latency`; it takes eq, neq, gt, gte, lt, lte, in"),
    (r#"gt(tags, "x")"#, 0, "`gt` does not apply to `tags`; it takes has, eq, neq, in, like, notlike, search"),
    (r#"eq(metadata, "x")"#, 0, "`eq` does not apply to `metadata`; it takes has, exists, like, notlike, search"),
    (
        r#"has(metadata, "key")"#,
        14,
        r#"`has` of `metadata` needs a JSON object; write '{"key": "value"}', with at most 64 values, or exists(metadata, "key")"#,
    ),
    (
        r#"has(name, "key")"#,
        0,
        "`has` does not apply to `name`; it takes eq, neq, in, like, notlike, search, gt, gte, lt, lte",
    ),
    (
        r#"exists(name, "key")"#,
        0,
        "`exists` does not apply to `name`; it takes eq, neq, in, like, notlike, search, gt, gte, lt, lte",
    ),
    ("exists(metadata)", 0, r#"`exists` has 1 argument; write exists(metadata, "key")"#),
    (
        r#"search("a the")"#,
        7,
        "there is no word to search for; words have two letters or digits at least and are not as common as `the`",
    ),
    ("search()", 0, r#"`search` has 0 arguments; write search("words") or search(name, "words")"#),
    ("eq(name)", 0, "`eq` has 1 argument; it takes a field and a literal"),
    (r#"eq("name", "x", "y")"#, 0, "`eq` has 3 arguments; it takes a field and a literal"),
    (r#"eq(5, "x")"#, 3, "`eq` needs a field first"),
    ("and()", 0, "`and` has no operands; give it at least one condition"),
    ("not()", 4, r#"unexpected `)`; expected a condition, such as eq(status, "error")"#),
    ("not(a = 1, b = 2)", 11, "unexpected `b`; expected `)`, `and` or `or`"),
    (r#"eq(name, "x"#, 9, r#"a text starts and does not end; close it with ""#),
    (r#"eq(name, "x""#, 12, "the filter stops; expected `,` or `)`"),
    (r#"eq(name, "x") eq(name, "y")"#, 14, "unexpected `eq`; expected the filter to end, `and` or `or`"),
    (r#"eq(name, "x"))"#, 13, "unexpected `)`; expected the filter to end, `and` or `or`"),
    ("name", 4, r#"the filter stops; expected a comparison, such as `= "error"`, `< 0.5` or `in ["a", "b"]`"#),
    ("name = ", 7, "the filter stops; expected a field, a text in quotes, a number, true, false, null or a list"),
    (r#"name is "x""#, 5, r#"unexpected `is`; expected a comparison, such as `= "error"`, `< 0.5` or `in ["a", "b"]`"#),
    (r#"name = "x" and"#, 14, r#"the filter stops; expected a condition, such as eq(status, "error")"#),
    ("true", 4, r#"the filter stops; expected a comparison, such as `= "error"`, `< 0.5` or `in ["a", "b"]`"#),
    ("   ", 0, r#"the filter is empty; write a condition, such as eq(status, "error")"#),
    (r#"eq(name, "\u00zz")"#, 10, r#"`\u` is no character; it needs four hexadecimal digits, such as \u00e9"#),
    ("name = #", 7, "`#` has no meaning"),
    ("total_tokens > 1e999", 15, "`1e999` is too large a number"),
    ("and(\n  eq(status, \"error\"),\n  eq(nmae, 'é'),\n)", 33, "there is no field `nmae`; did you mean `name`?"),
    (r#"eq(name, "\ud83d")"#, 10, r"`\u` is no character; it needs four hexadecimal digits, such as \u00e9"),
];

fn refusal(source: &str) -> String {
    Filter::parse(source).expect_err(source).to_string()
}

#[test]
fn refusals_name_the_place_and_the_remedy() {
    for (source, at, message) in REFUSED {
        let error = Filter::parse(source).expect_err(source);
        assert_eq!((error.at, error.message.as_str()), (*at, *message), "{source}");
    }
}

#[test]
fn refusals_show_the_place() {
    assert_eq!(
        refusal(r#"and(eq(naem, "x"))"#),
        "there is no field `naem`; did you mean `name`? (at character 8)\n  and(eq(naem, \"x\"))\n         ^"
    );
    assert_eq!(
        refusal("and(\n  eq(status, \"error\"),\n  eq(nmae, 'é'),\n)"),
        "there is no field `nmae`; did you mean `name`? (at character 34)\n    eq(nmae, 'é'),\n       ^"
    );
}

#[test]
fn a_long_word_is_not_repeated_in_full() {
    assert!(refusal(&format!("eq({}, 1)", "x".repeat(10_000))).len() < 1000);
}

#[test]
fn bounds_are_kept() {
    assert!(refusal(&format!("eq(name, \"{}\")", "x".repeat(SOURCE_BYTES_MAX))).contains("bytes"));
    let nested = |levels: usize| format!("{}is_root = true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(Filter::parse(&nested(NESTING_MAX)).is_ok());
    assert!(refusal(&nested(NESTING_MAX + 1)).contains("nested"));
    let calls = |count: usize| vec!["is_root = true"; count].join(" or ");
    assert!(Filter::parse(&calls(CALLS_MAX)).is_ok());
    assert!(refusal(&calls(CALLS_MAX + 1)).contains("calls"));
    let pattern = |chars: usize| format!("like(name, \"{}\")", "é".repeat(chars));
    assert!(Filter::parse(&pattern(PATTERN_CHARS_MAX)).is_ok());
    assert!(refusal(&pattern(PATTERN_CHARS_MAX + 1)).contains("pattern"));
    let search = |words: usize| format!("search(\"{}\")", "word ".repeat(words));
    assert!(Filter::parse(&search(SEARCH_WORDS_MAX)).is_ok());
    assert!(refusal(&search(SEARCH_WORDS_MAX + 1)).contains("words"));
    assert!(
        refusal(&format!("has(inputs, '{{\"a\": [{}1]}}')", "1,".repeat(CONTAINMENT_VALUES_MAX))).contains("values")
    );
}

#[test]
fn openings_without_end_are_refused_and_overflow_nothing() {
    for opening in ["(", "not ", "not(", "and(", "[", "in(name,["] {
        let error = refusal(&opening.repeat(SOURCE_BYTES_MAX / opening.len()));
        assert!(error.contains("nested") || error.contains("expected"), "{error}");
    }
}
