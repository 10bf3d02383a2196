use bytestring::ByteString;

use super::*;

fn with_metadata(metadata: &str) -> Run {
    Run { extra: Some(format!(r#"{{"runtime":{{"k":"no"}},"metadata":{metadata}}}"#).into()), ..run() }
}

#[test]
fn the_documented_examples_hold() {
    let slow = Run { status: Status::Error, error: Some("boom".into()), ..run() };
    check(&slow, &[], &[r#"and(eq(is_root, true), gt(latency, "5s"), eq(status, "error"))"#], &[]);
    let tagged = Run { tags: vec!["prod".into()], ..run() };
    check(&tagged, &[], &[r#"or(has(tags,"prod"), in(name,["a","b"]))"#], &[]);
    check(&run(), &[], &[r#"gt(start_time,"2026-06-30T00:00:00Z")"#], &[r#"or(has(tags,"prod"), in(name,["a","b"]))"#]);
    let thumbs = [feedback("thumbs", Some(0.0)), feedback("other", Some(1.0))];
    check(&run(), &thumbs, &[r#"and(eq(feedback_key,"thumbs"), eq(feedback_score,0))"#], &[]);
    let infix = r#"has(feedback_key,"thumbs") and feedback_score < 0.5"#;
    check(&run(), &thumbs, &[infix], &[r#"has(feedback_key,"other") and feedback_score < 0.5"#]);
    let thread = r#"and(in(metadata_key, ["session_id","conversation_id","thread_id"]), eq(metadata_value, "t1"))"#;
    check(&with_metadata(r#"{"thread_id":"t1"}"#), &[], &[thread], &[]);
}

#[test]
fn ids_are_compared_as_uuids() {
    let holding = [
        r#"eq(id, "00000000-0000-0000-0000-000000000001")"#,
        r#"eq(trace_id, '00000000000000000000000000000001')"#,
        r#"eq(session_id, "00000000-0000-0000-0000-000000000009")"#,
        r#"in(id, ["00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-000000000001"])"#,
        "eq(parent_run_id, null)",
        "eq(reference_example_id, None)",
        r#"neq(parent_run_id, "00000000-0000-0000-0000-000000000001")"#,
    ];
    check(&run(), &[], &holding, &["neq(parent_run_id, null)", "neq(reference_example_id, null)"]);
    let child = Run { parent: Some(RunId(Uuid::from_u128(3))), reference_example: Some(Uuid::from_u128(4)), ..run() };
    let holding = [
        r#"parent_run_id = "00000000-0000-0000-0000-000000000003""#,
        "neq(parent_run_id, null)",
        "neq(reference_example_id, null)",
        "is_root = False",
    ];
    check(&child, &[], &holding, &["eq(is_root, true)", "eq(parent_run_id, null)"]);
}

#[test]
fn texts_are_compared_by_characters() {
    let holding = [
        r#"eq(name, "answer")"#,
        r#"neq(name, "Answer")"#,
        r#"in("name", ["x", "answer",])"#,
        r#"like(name, "ans%")"#,
        r#"notlike(name, "%x%")"#,
        r#"search(name, "ANSWER")"#,
        r#"name notlike 'b%'"#,
        r#"gte(dotted_order, "20260701")"#,
        r#"lt(name, "b")"#,
        r#"eq(run_type, "CHAIN")"#,
        r#"like(run_type, "Ch%")"#,
    ];
    let failing =
        [r#"eq(name, "Answer")"#, r#"like(name, "Ans%")"#, r#"search(name, "ans")"#, r#"eq(run_type, "llm")"#];
    check(&run(), &[], &holding, &failing);
}

#[test]
fn the_status_has_three_words_in_any_case() {
    check(
        &run(),
        &[],
        &[r#"eq(status, "SUCCESS")"#, r#"in(status, ["error", "success"])"#],
        &[r#"neq(status, "success")"#],
    );
    let pending = Run { status: Status::Pending, end_time: None, ..run() };
    check(&pending, &[], &[r#"status == "Pending""#, "eq(end_time, null)"], &[r#"status = "error""#]);
}

#[test]
fn an_error_is_absent_or_text() {
    check(&run(), &[], &["eq(error, null)", r#"notlike(error, "%Timeout%")"#], &[r#"like(error, "%")"#]);
    let failed = Run { error: Some("Timeout: no reply\nTraceback".into()), status: Status::Error, ..run() };
    let holding = [r#"like(error, "Timeout%")"#, r#"search(error, "traceback reply")"#, "not(eq(error, null))"];
    check(&failed, &[], &holding, &["eq(error, null)"]);
}

#[test]
fn times_have_zones_or_are_in_utc() {
    let holding = [
        r#"eq(start_time, "2026-07-01T09:00:00Z")"#,
        r#"eq(start_time, "2026-07-01T11:00:00+02:00")"#,
        r#"eq(start_time, "2026-07-01T09:00:00")"#,
        r#"start_time >= "2026-07-01 09:00:00.000000""#,
        r#"gt(start_time, "2026-07-01")"#,
        r#"lte(end_time, "2026-07-01T09:00:05.5Z")"#,
    ];
    check(&run(), &[], &holding, &[r#"lt(start_time, "2026-07-01T09:00:00Z")"#, r#"gt(end_time, "2026-07-02")"#]);
    let open = Run { end_time: None, ..run() };
    check(&open, &[], &[r#"neq(end_time, "2026-07-02")"#], &[r#"lt(end_time, "2027-01-01")"#, r#"gt(latency, 0)"#]);
}

#[test]
fn durations_have_units_or_are_seconds() {
    let holding = [
        r#"eq(latency, "5.5s")"#,
        "latency = 5.5",
        r#"eq(latency, "5500ms")"#,
        r#"gt(latency, "0.09m")"#,
        r#"lt(latency, "2h")"#,
        r#"eq(first_token_latency, "250 ms")"#,
        "gt(latency, -1)",
    ];
    check(&run(), &[], &holding, &[r#"gt(latency, "5.5s")"#, "gte(latency, 6)"]);
    check(
        &Run { first_token_time: None, ..run() },
        &[],
        &["eq(first_token_latency, null)"],
        &["gt(first_token_latency, 0)"],
    );
}

#[test]
fn tokens_and_costs_are_numbers() {
    let costs = Costs { prompt: Some("0.1".into()), completion: None, total: Some("0.30".into()) };
    let run = Run { tokens: Tokens { prompt: 5, completion: 7, total: 12 }, costs, ..run() };
    let holding = [
        "eq(total_tokens, 12)",
        "and(gte(prompt_tokens, 5), lt(completion_tokens, 1e1))",
        "total_cost = 0.3",
        "in(prompt_cost, [0.2, 0.1])",
        "eq(completion_cost, null)",
    ];
    check(&run, &[], &holding, &["gt(completion_cost, -1)", "neq(total_cost, 0.3)", "total_tokens > 12"]);
}

#[test]
fn tags_hold_if_one_of_them_does() {
    let run = Run { tags: vec!["prod".into(), "eu-west".into()], ..run() };
    let holding = [
        r#"has(tags, "prod")"#,
        r#"and(has(tags, "prod"), has(tags, "eu-west"))"#,
        r#"eq(tag, "prod")"#,
        r#"in(tags, ["x", "eu-west"])"#,
        r#"like(tags, "eu-%")"#,
        r#"neq(tags, "dev")"#,
        r#"search(tags, "west")"#,
        "neq(tags, null)",
    ];
    check(
        &run,
        &[],
        &holding,
        &[r#"has(tags, "pro")"#, r#"neq(tags, "prod")"#, r#"notlike(tags, "eu-%")"#, "eq(tags, null)"],
    );
}

#[test]
fn a_pair_is_about_one_entry() {
    let run = with_metadata(r#"{"user":"u1","env":"prod","nested":{"list":[1,"two"]},"none":null,"flag":true}"#);
    let holding = [
        r#"and(eq(metadata_key,"user"), eq(metadata_value,"u1"))"#,
        r#"metadata_key = "user" and status = "success" and metadata_value = "u1""#,
        r#"and(and(eq(metadata_key,"user"), eq(metadata_value,"u1")), and(eq(metadata_key,"env"), eq(metadata_value,"prod")))"#,
        r#"(metadata_key = "user" and metadata_value = "u1") and (metadata_key = "env" and metadata_value = "prod")"#,
        r#"and(eq(metadata_key,"nested.list"), eq(metadata_value,1))"#,
        r#"and(eq(metadata_key,"nested.list"), eq(metadata_value,"1"))"#,
        r#"and(eq(metadata_key,"nested.list"), eq(metadata_value,"two"))"#,
        r#"and(has(metadata_key,"flag"), eq(metadata_value,true))"#,
        r#"and(eq(metadata_key,"none"), eq(metadata_value,null))"#,
        r#"and(eq(metadata_key,"user"), neq(metadata_value,"u2"))"#,
        r#"and(eq(metadata_key,"user"), not(eq(metadata_value,"u2")))"#,
        r#"exists(metadata,"user") and exists(metadata,"env")"#,
        r#"and(and(eq(metadata_key,"user")), and(eq(metadata_value,"prod")))"#,
        r#"(metadata_key = "user") and (metadata_value = "u1")"#,
    ];
    let failing = [
        r#"and(eq(metadata_key,"user"), eq(metadata_value,"prod"))"#,
        r#"and(eq(metadata_key,"user"), neq(metadata_value,"u1"))"#,
        r#"and(eq(metadata_key,"user"), not(eq(metadata_value,"u1")))"#,
        r#"and(eq(metadata_key,"user"), eq(metadata_key,"env"))"#,
        r#"and(eq(metadata_key,"absent"), neq(metadata_value,"v"))"#,
        r#"(metadata_key = "user") and (metadata_value = "prod")"#,
        r#"eq(metadata_key,"k")"#,
    ];
    check(&run, &[], &holding, &failing);
}

#[test]
fn opposites_alone_are_about_all_entries() {
    let run = with_metadata(r#"{"a":"1","b":"2"}"#);
    let holding = [
        r#"neq(metadata_key,"c")"#,
        r#"and(neq(metadata_key,"c"), neq(metadata_value,"3"))"#,
        r#"not(and(eq(metadata_key,"a"), eq(metadata_value,"2")))"#,
        r#"or(eq(metadata_key,"c"), eq(metadata_value,"2"))"#,
        r#"and(eq(metadata_key,"a"), or(eq(metadata_value,"2"), eq(metadata_value,"3")))"#,
    ];
    let failing = [
        r#"neq(metadata_key,"a")"#,
        r#"and(neq(metadata_key,"c"), neq(metadata_value,"2"))"#,
        r#"not(not(neq(metadata_key,"a")))"#,
        r#"and(eq(metadata_key,"a"), in(metadata_value,["2","3"]))"#,
    ];
    check(&run, &[], &holding, &failing);
    check(&super::run(), &[], &[r#"neq(metadata_key,"a")"#, "eq(metadata_key,null)"], &["neq(metadata_value,null)"]);
}

#[test]
fn values_compare_as_numbers_with_numbers() {
    let run = with_metadata(r#"{"n":5,"f":0.5,"t":"12","big":"x9"}"#);
    let holding = [
        "eq(metadata_value, 5.0)",
        "gt(metadata_value, 11)",
        "in(metadata_value, [12, 13])",
        r#"and(eq(metadata_key,"f"), lt(metadata_value, 1))"#,
        r#"and(eq(metadata_key,"t"), gt(metadata_value, "100"))"#,
    ];
    check(&run, &[], &holding, &["gt(metadata_value, 12)", r#"eq(metadata_value, "5.0")"#]);
}

#[test]
fn long_values_compare_by_what_is_known_of_them() {
    let long = "v".repeat(400);
    let run = with_metadata(&format!(r#"{{"k":"{long}"}}"#));
    check(
        &run,
        &[],
        &[&format!(r#"eq(metadata_value, "{long}")"#)],
        &[&format!(r#"eq(metadata_value, "{}")"#, "v".repeat(249))],
    );
}

#[test]
fn inputs_and_outputs_have_entries_too() {
    let run = Run {
        inputs: Some(r#"{"q":{"text":"refund"}}"#.into()),
        outputs: Some(r#"{"a":["yes","no"]}"#.into()),
        ..run()
    };
    let holding = [
        r#"and(eq(input_key,"q.text"), like(input_value,"ref%"), eq(output_key,"a"), eq(output_value,"no"))"#,
        r#"exists(inputs,"q")"#,
        r#"exists("outputs","a")"#,
        r#"has(outputs,'{"a":["no"]}')"#,
        r#"like(inputs,"%fund")"#,
        r#"notlike(outputs,"%fund")"#,
        r#"neq(output_key,"q")"#,
    ];
    check(
        &run,
        &[],
        &holding,
        &[r#"exists(inputs,"text")"#, r#"eq(output_key,"q.text")"#, r#"notlike(inputs,"%fund")"#],
    );
}

#[test]
fn json_is_contained_in_metadata() {
    let run = with_metadata(r#"{"k":"v","o":{"n":1,"m":2}}"#);
    let holding = [r#"has(metadata, '{"k":"v"}')"#, r#"has("metadata", "{\"o\": {\"m\": 2}}")"#];
    check(&run, &[], &holding, &[r#"has(metadata, '{"k":"no"}')"#, r#"has(metadata, '{"n":1}')"#]);
    check(&super::run(), &[], &[], &["has(metadata, '{}')"]);
}

#[test]
fn searches_need_all_words_somewhere() {
    let run = Run {
        inputs: Some(r#"{"q":"Where is my ORDER?"}"#.into()),
        outputs: Some(r#"{"a":"On its way."}"#.into()),
        ..run()
    };
    let holding =
        [r#"search("order")"#, r#"search("Order, way")"#, r#"search("is the order")"#, r#"search(outputs, "way")"#];
    let failing = [
        r#"search("orders")"#,
        r#"search(inputs, "order way")"#,
        r#"search("order refund")"#,
        r#"search(metadata, "order")"#,
    ];
    check(&run, &[], &holding, &failing);
}

#[test]
fn feedback_is_about_one_piece() {
    let given = |value: &str| Feedback { value: Some(ByteString::from(value)), ..feedback("tone", None) };
    let pieces = [
        Feedback { source_type: Some("api".into()), comment: Some("too long".into()), ..feedback("score", Some(0.25)) },
        given("\"rude\""),
    ];
    let holding = [
        r#"has(feedback_key, "tone")"#,
        r#"and(eq(feedback_key,"score"), lt(feedback_score,0.5))"#,
        r#"and(eq(feedback_key,"tone"), eq(feedback_value,"rude"))"#,
        r#"and(eq(feedback_key,"tone"), eq(feedback_score,null))"#,
        r#"and(eq(feedback_key,"tone"), neq(feedback_score,0.25))"#,
        r#"and(eq(feedback_source,"api"), search(feedback_comment,"LONG"))"#,
        "neq(feedback_score, 1)",
        "neq(feedback_score, null)",
        r#"and(eq(feedback_key,"score"), not(gt(feedback_score,0.5)))"#,
    ];
    let failing = [
        r#"and(eq(feedback_key,"tone"), lt(feedback_score,0.5))"#,
        "neq(feedback_score, 0.25)",
        "eq(feedback_score, null)",
        r#"and(eq(feedback_key,"tone"), eq(feedback_source,"api"))"#,
    ];
    check(&run(), &pieces, &holding, &failing);
    check(
        &run(),
        &[],
        &["neq(feedback_score, 1)", "eq(feedback_score, null)"],
        &["neq(feedback_key, null)", "lt(feedback_score, 1)"],
    );
    for (value, filter) in
        [("3", "eq(feedback_value, 3)"), ("true", "eq(feedback_value, true)"), ("null", "eq(feedback_value, null)")]
    {
        check(&run(), &[given(value)], &[filter], &[]);
    }
    assert!(is_matched(r#"like(feedback_value, "{%")"#, &run(), &[given(r#"{"a":1}"#)]));
}

#[test]
fn a_filter_knows_whether_it_needs_feedback() {
    let needs = |source: &str| Filter::parse(source).unwrap().needs_feedback();
    assert!(needs(r#"or(eq(name,"x"), not(and(eq(is_root,true), neq(feedback_key,"k"))))"#));
    assert!(!needs(r#"and(eq(name,"feedback_key"), has(metadata,'{"feedback_score":1}'))"#));
}

#[test]
fn the_thread_is_named_by_metadata() {
    let thread = r#"eq(thread_id, "t")"#;
    check(&with_metadata(r#"{"session_id":"s","thread_id":"t"}"#), &[], &[thread], &[r#"eq(thread_id, "s")"#]);
    check(&with_metadata(r#"{"conversation_id":"t"}"#), &[], &[thread, "neq(thread_id, null)"], &[]);
    check(&with_metadata(r#"{"thread_id":7}"#), &[], &["eq(thread_id, 7)", r#"eq(thread_id, "7")"#], &[]);
    check(&run(), &[], &["eq(thread_id, null)"], &[thread]);
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    let yes = r#"name = "answer""#;
    let no = r#"name = "x""#;
    let holding = [
        format!("{yes} or {yes} and {no}"),
        format!("not {no} and {yes}"),
        format!("NOT {no} AND ({no} OR {yes})"),
        format!("not (not {yes})"),
        format!("or({no}, and({yes}, not {no},),)"),
    ];
    let failing = [format!("({yes} or {yes}) and {no}"), format!("not {yes} or {no}"), format!("not({yes}) and {yes}")];
    check(&run(), &[], &holding.each_ref().map(String::as_str), &failing.each_ref().map(String::as_str));
}

#[test]
fn filters_are_equal_by_source_and_shared_by_clones() {
    let filter = Filter::parse("eq(is_root, true)").unwrap();
    assert_eq!(filter.clone(), filter);
    assert_ne!(filter, Filter::parse("eq(is_root,true)").unwrap());
    assert_eq!(format!("{filter:?}"), r#"Filter("eq(is_root, true)")"#);
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&filter);
}
