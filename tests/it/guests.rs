//! The plugin runtime against one tiny guest per behaviour: what comes of it. Those that mean harm are in hostile.rs.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use runhook::model::plugin::{OnError, PluginFailureKind, PluginUse};
use runhook::plugin::{ChainOutcome, PluginPolicy, PluginRuntime};
use runhook_test_guests as guests;
use serde_json::{Value, json};

use crate::support::plugin_scene::{Scene, payload};

#[tokio::test(flavor = "multi_thread")]
async fn an_error_text_is_bounded() {
    assert!(Scene::of(guests::GIANT_ERROR).held().await.message.len() <= runhook::limits::ERROR_TEXT_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_meets_every_payload_in_a_fresh_instance() {
    let scene = Scene::of(guests::COUNTS_CALLS);
    scene.runtime.check(&scene.used(json!({}), OnError::Hold)).await.unwrap();
    for _ in 0..200 {
        assert_eq!(scene.sent(json!({})).await["runs"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_keeps_and_a_transform_edits() {
    let kept = Scene::of(guests::KEEPS_EVEN).sent(json!({})).await;
    assert_eq!(kept["runs"], json!([serde_json::from_slice::<Value>(&payload()).unwrap()["runs"][0]]));
    let edited = Scene::of(guests::EDITS_IN_KEEP).sent(json!({})).await;
    assert_eq!((&edited["runs"][0]["is_seen"], &edited["runs"][0]["name"]), (&json!(true), &Value::Null));
    let renamed = Scene::of(guests::RENAMES).sent(json!({"name": "n"})).await;
    assert_eq!((&renamed["runs"][0]["name"], &renamed["runs"][1]["name"]), (&json!("n"), &json!("n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_stages_of_one_plugin_run_in_order_and_share_the_configuration() {
    let scene = Scene::of(guests::ALL_STAGES);
    let ChainOutcome::Send(body) = scene.run(json!({"mark": "m"}), OnError::Hold).await else { panic!() };
    assert_eq!(body.content_type, "text/plain");
    assert_eq!(body.headers, [("x-mark".to_owned(), "m".to_owned())]);
    assert_eq!(body.bytes, "1 failed");
    let stages = scene.runtime.plugins().into_iter().find(|plugin| plugin.name == "all-stages").unwrap().stages;
    assert_eq!(stages.to_string(), "filter, transform, render");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_guest_writes_is_not_followed() {
    let scene = Scene::of(guests::READS_INPUTS);
    assert_eq!(scene.sent(json!({})).await["runs"][0]["is_read"], json!(true));
    let written = scene.sent(json!({"url": "https://elsewhere.example/?what-it=knows"})).await;
    assert_eq!(written["runs"][0]["is_read"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_error_holds_skips_or_drops_and_a_skipped_edit_is_undone() {
    let scene = Scene::of(guests::REFUSES_PAYLOAD);
    assert!(matches!(scene.run(json!({}), OnError::Hold).await, ChainOutcome::Held(_)));
    assert!(matches!(scene.run(json!({}), OnError::Drop).await, ChainOutcome::Dropped(_)));
    let ChainOutcome::Send(body) = scene.run(json!({}), OnError::Skip).await else { panic!() };
    assert_eq!(body.bytes, payload(), "not a byte of the half-done edit is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_refused_in_the_plugins_own_words() {
    let scene = Scene::of(guests::REFUSES_CONFIG);
    assert!(scene.runtime.check(&scene.used(json!({"word": "please"}), OnError::Hold)).await.unwrap().filter);
    let refused = scene.runtime.check(&scene.used(json!({"word": "now"}), OnError::Hold)).await.unwrap_err();
    assert!(refused.message.contains("say please"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_plugin_is_answered_with_the_nearest_name() {
    let scene = Scene::of(guests::KEEPS_EVEN);
    let ask = async |name: &str| {
        let plugin: PluginUse = serde_json::from_value(json!({ "name": name })).unwrap();
        let failure = scene.runtime.check(&plugin).await.unwrap_err();
        assert_eq!(failure.kind, PluginFailureKind::Missing);
        failure.message
    };
    assert!(ask("error-only").await.ends_with("did you mean `errors-only`?"));
    assert!(ask("keep-even").await.ends_with("did you mean `keeps-even`?"));
    assert!(ask("zzzzz").await.ends_with("there is no plugin of that name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_and_randomness_are_granted_by_name_and_a_payload_meets_the_same_numbers_again() {
    let ungranted = Scene::of(guests::CLOCK_AND_RANDOM).held().await;
    assert_eq!(ungranted.kind, PluginFailureKind::Load);
    assert!(ungranted.message.contains("`grants = [\"clock\", \"random\"]`"), "{ungranted}");
    let half = PluginPolicy::parse("[plugins.clock-and-random]\ngrants = [\"clock\"]").unwrap();
    let ungranted = Scene::under(guests::CLOCK_AND_RANDOM, half).held().await;
    assert!(ungranted.message.contains("wasi:random/random") && !ungranted.message.contains("wasi:clocks"));

    let policy = PluginPolicy::parse("[plugins.clock-and-random]\ngrants = [\"clock\", \"random\"]").unwrap();
    let scene = Scene::under(guests::CLOCK_AND_RANDOM, policy);
    let sent = scene.sent(json!({})).await;
    assert_eq!(sent["stood_still"], true);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(sent["seconds"].as_u64().unwrap().abs_diff(now) < 60, "{sent}");
    assert_ne!(sent["first"], sent["second"]);
    let again = scene.sent(json!({})).await;
    assert_eq!((&again["first"], &again["second"]), (&sent["first"], &sent["second"]));
    let other = Bytes::from_static(br#"{"runs":[{"id":"3"}]}"#);
    let ChainOutcome::Send(body) = scene.runtime.run(&[scene.used(json!({}), OnError::Hold)], other).await else {
        panic!("it passes");
    };
    let other: Value = serde_json::from_slice(&body.bytes).unwrap();
    assert_ne!(other["first"], sent["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_changes_nothing_hands_the_very_bytes_on() {
    let scene = Scene::of(guests::INVALID_JSON_SET);
    let before = payload();
    let chain = [serde_json::from_value(json!({"name": "sample", "config": {"rate": 1.0}})).unwrap()];
    let ChainOutcome::Send(body) = scene.runtime.run(&chain, before.clone()).await else { panic!() };
    assert_eq!(body.bytes.as_ptr(), before.as_ptr());
}
