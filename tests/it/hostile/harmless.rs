//! What looks like harm and does none: a payload passes, or is refused for what it costs.

use std::time::{Duration, Instant};

use runhook::model::plugin::{OnError, PluginFailureKind};
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, Trial};
use runhook_test_guests as guests;
use serde_json::json;

use crate::host_process::BINARY;
use crate::hostile::handmade::Handmade;
use crate::hostile::run::AMPLE;
use crate::support::plugin_scene::{Scene, payload, used};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_never_gets_into_the_payload() {
    let scene = Scene::of(guests::INVALID_JSON_SET);
    assert_eq!(scene.sent_bytes(json!({})).await, payload());
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_hardly_anybody_writes_is_kept_to_the_letter_and_works_on() {
    let scene = Scene::of(guests::AWKWARD_JSON_SET);
    // One that looks at the whole payload.
    let redact = used("redact", json!({"patterns": ["no such text"]}), OnError::Hold);
    let chain = [scene.used(json!({}), OnError::Hold), redact];
    let ChainOutcome::Send(body) = scene.runtime.run(&chain, payload()).await else { panic!("it passes") };
    let text = String::from_utf8(body.bytes.to_vec()).unwrap();
    assert!(text.contains(r#""huge":1e400"#));
    assert!(text.contains(r#""twice":{"a": "edited", "a": "edited"}"#), "{:.400}", text);
    assert!(text.contains(r#""read":"last""#));
    assert!(text.contains(&["[".repeat(10_000), "]".repeat(10_000)].concat()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_of_any_depth_costs_the_host_no_stack() {
    assert_eq!(Scene::of(guests::DEEP_POINTER).sent(json!({})).await["deep"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_guest_waits_in_the_host() {
    assert_eq!(Scene::of(guests::READS_STDIN).sent(json!({})).await["input"], "");
    let polling = Scene::holding(&[("by_hand.wasm", &polling_stdin().bytes())], PluginPolicy::default());
    assert_eq!(polling.sent_bytes(json!({})).await, payload());
    let policy = PluginPolicy::parse("[plugins.clock-and-random]\ngrants = [\"clock\", \"random\"]").unwrap();
    let begun = Instant::now();
    assert_eq!(Scene::under(guests::CLOCK_AND_RANDOM, policy).sent(json!({})).await["stood_still"], true);
    assert!(begun.elapsed() < Duration::from_secs(60), "it sleeps for an hour");
}

/// Waits until its standard input has something to read.
fn polling_stdin() -> Handmade {
    Handmade {
        outside: r#"
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "input-stream" (type $input (sub resource)))
    (export "[method]input-stream.subscribe" (func (param "self" (borrow $input)) (result (own $pollable))))))
  (alias export $streams "input-stream" (type $input))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin (export "get-stdin" (func (result (own $input))))))
  (core func $stdin (canon lower (func $stdin "get-stdin")))
  (core func $subscribe (canon lower (func $streams "[method]input-stream.subscribe")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))"#,
        inside: r#"
  (import "io" "stdin" (func $stdin (result i32)))
  (import "io" "subscribe" (func $subscribe (param i32) (result i32)))
  (import "io" "block" (func $block (param i32)))"#,
        given: r#"
  (with "io" (instance
    (export "stdin" (func $stdin)) (export "subscribe" (func $subscribe)) (export "block" (func $block))))"#,
        apply: "(call $block (call $subscribe (call $stdin))) (call $payload.drop (local.get $payload))",
        ..Handmade::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_the_whole_payload_again_and_again_is_bounded_by_what_may_be_read() {
    let limits = PluginLimits { cpu_base: Duration::from_secs(20), ..PluginLimits::default() };
    let scene = Scene::with(guests::ASKS_FOR_ALL, limits);
    assert_eq!(scene.sent(json!({})).await["asked_for"], payload().len() * 1000);
    let large = json!({"runs": [], "filler": "x".repeat(1 << 20)}).to_string();
    let outcome = scene.runtime.run(&[scene.used(json!({}), OnError::Hold)], large.into()).await;
    let ChainOutcome::Held(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, PluginFailureKind::Limit);
    assert!(failure.message.contains("read more than 512 MiB"), "{failure}");
    assert!(scene.serves_on().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_harms_nobody() {
    let limits = PluginLimits { cpu_base: AMPLE, ..PluginLimits::default() };
    assert_eq!(Scene::with(guests::PRINTS_FLOOD, limits).sent_bytes(json!({})).await, payload());
}

/// Its table is written to, which snapshots cannot show: they give it up before it is configured.
fn refusing_without_a_snapshot() -> Handmade {
    Handmade {
        inside: r#"
  (table $t 1 funcref)
  (func (export "change") (table.set $t (i32.const 0) (ref.null func)))
  (data (i32.const 256) "say please")"#,
        configure: "
  (i32.store (i32.const 128) (i32.const 1))
  (i32.store (i32.const 132) (i32.const 256))
  (i32.store (i32.const 136) (i32.const 10))
  (return (i32.const 128))",
        ..Handmade::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_snapshot_can_be_made_a_configuration_is_refused_all_the_same() {
    let component = refusing_without_a_snapshot().bytes();
    let scene = Scene::holding(&[("by_hand.wasm", &component)], PluginPolicy::default());
    for _ in 0..2 {
        let refused = scene.runtime.check(&scene.used(json!({}), OnError::Hold)).await.unwrap_err();
        assert_eq!((refused.export.as_str(), refused.message.as_str()), ("configure", "say please"));
    }
    let listed = scene.runtime.plugins().into_iter().find(|plugin| plugin.name == "by-hand").unwrap();
    assert!(listed.per_instance.unwrap().contains("`table.set`"));
    let trial = Trial::load("by_hand.wasm", component.into(), PluginPolicy::default(), Some(BINARY.into())).unwrap();
    assert_eq!(trial.prepare("{}").refusal().unwrap().message, "say please");
}
