//! The same payload through the same plugin gives the same bytes, whatever ran before and however it was configured.

use std::path::Path;

use bytes::Bytes;
use runhook::model::plugin::{OnError, PluginUse};
use runhook::plugin::{ChainOutcome, PluginPolicy, PluginRuntime, Prepared, Trial};
use runhook_test_guests as guests;
use serde_json::{Value, json};

use crate::host_process::BINARY;
use crate::support::plugin_scene::{Scene, payload};

/// Plugins that could give themselves away, with a configuration.
fn files() -> Vec<(&'static str, Value)> {
    vec![
        (guests::ALL_STAGES, json!({"mark": "m"})),
        (guests::WHOLE_CONTRACT, json!({"mark": "m"})),
        (guests::HASH_ORDER, json!({})),
        (guests::COUNTS_CONFIGURES, json!({})),
        (guests::AWKWARD_JSON_SET, json!({})),
        (guests::ECHOES_CONFIG, json!({"texts": ["b", "a"]})),
        (guests::READS_STDIN, json!({})),
        (guests::REFUSES_PAYLOAD, json!({})),
        (guests::PANICS, json!({})),
    ]
}

fn built_in() -> Vec<(&'static str, Value)> {
    vec![
        ("errors-only", json!({})),
        ("sample", json!({"rate": 0.5})),
        ("redact", json!({"pointers": ["/inputs"], "patterns": ["x"]})),
        ("truncate", json!({"max_chars": 1})),
        ("slack", json!({"title": "Runs"})),
    ]
}

/// What a plugin made of the payload, and what it used but for time.
fn made(prepared: &Prepared<'_>) -> (String, String) {
    let report = prepared.run(payload()).unwrap();
    let usage = report.usage;
    let counted = (usage.memory_bytes, usage.host_calls, usage.bytes_out, usage.bytes_in, usage.output);
    (format!("{:?}", report.result), format!("{counted:?}"))
}

/// From a snapshot and in an instance of its own, each again and again.
fn always_the_same(name: &str, trial: &Trial, config: &Value) {
    let config = config.to_string();
    let (snapshot, afresh) = (trial.prepare(&config), trial.per_instance(&config));
    assert_eq!(snapshot.why_per_instance(), None, "{name}");
    let [from_snapshot, in_its_own] = [snapshot, afresh].map(|prepared| {
        let first = made(&prepared);
        for _ in 0..3 {
            assert_eq!(made(&prepared), first, "{name}");
        }
        first.0
    });
    assert_eq!(from_snapshot, in_its_own, "{name}");
}

#[test]
fn the_same_payload_makes_the_same_bytes_from_a_snapshot_and_in_an_instance_of_its_own() {
    for (component, config) in files() {
        let file = Path::new(component).file_name().unwrap().to_str().unwrap();
        let bytes = Bytes::from(std::fs::read(component).unwrap());
        let trial = Trial::load(file, bytes, PluginPolicy::default(), Some(BINARY.into())).unwrap();
        always_the_same(file, &trial, &config);
    }
    for (name, config) in built_in() {
        always_the_same(name, &Trial::built_in(&name.parse().unwrap(), PluginPolicy::default()).unwrap(), &config);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_again_makes_the_same_bytes() {
    let mut chain: Vec<PluginUse> = built_in()
        .into_iter()
        // It may drop the only run that is left.
        .filter(|(name, _)| *name != "sample")
        .map(|(name, config)| serde_json::from_value(json!({"name": name, "config": config})).unwrap())
        .collect();
    let mut sent = Vec::new();
    for _ in 0..2 {
        let scene = Scene::of(guests::HASH_ORDER);
        chain.insert(0, scene.used(json!({}), OnError::Hold));
        for _ in 0..5 {
            let outcome = scene.runtime.run(&chain, payload()).await;
            let ChainOutcome::Send(body) = outcome else { panic!("{outcome:?}") };
            sent.push(body.bytes);
        }
        chain.remove(0);
    }
    assert!(sent.iter().all(|bytes| *bytes == sent[0]));
}
