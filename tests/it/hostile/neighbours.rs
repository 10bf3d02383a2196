//! Who is innocent: a plugin on a machine that others keep busy, and one beside a plugin that always runs to its deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runhook::model::plugin::{OnError, PluginFailureKind, PluginUse};
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, Trial};
use runhook_test_guests as guests;
use serde_json::{Value, json};

use crate::host_process::BINARY;
use crate::support::plugin_scene::{Scene, good, payload};

const CPU: Duration = Duration::from_millis(150);

/// Busy threads for each core: a thread beside them gets a sixth of it. More would fail other tests.
const BUSY_PER_CORE: usize = 5;

/// Rounds of the guest `burns` that take a third of the CPU limit here.
fn a_third_of_the_limit() -> u64 {
    let bytes = std::fs::read(guests::BURNS).unwrap();
    let limits = PluginLimits { cpu_base: Duration::from_secs(20), wall_factor: 100, ..PluginLimits::default() };
    let trial =
        Trial::load("burns.wasm", bytes.into(), PluginPolicy::with_limits(limits), Some(BINARY.into())).unwrap();
    let rounds = 20_000_000;
    let report = trial.per_instance(&json!({ "rounds": rounds }).to_string()).run(one_run()).unwrap();
    report.result.unwrap();
    (rounds as f64 * (CPU / 3).as_secs_f64() / report.usage.cpu.as_secs_f64()) as u64
}

fn one_run() -> bytes::Bytes {
    json!({"rule_id": "r", "runs": [{"id": "1", "status": "error"}]}).to_string().into()
}

#[test]
fn a_busy_machine_fails_no_plugin_that_keeps_to_its_cpu_time() {
    let rounds = a_third_of_the_limit();
    let limits = PluginLimits { cpu_base: CPU, wall_factor: 100, ..PluginLimits::default() };
    let scene = Scene::with(guests::BURNS, limits);
    let used = |rounds: u64| scene.used(json!({ "rounds": rounds }), OnError::Hold);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(scene.runtime.check(&used(rounds))).unwrap();

    let is_over = AtomicBool::new(false);
    let cores = thread::available_parallelism().unwrap().get();
    let (outcome, took, beyond) = thread::scope(|threads| {
        for _ in 0..cores * BUSY_PER_CORE {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let run = |rounds| runtime.block_on(scene.runtime.run(&[used(rounds)], one_run()));
        let begun = Instant::now();
        let outcome = run(rounds);
        let took = begun.elapsed();
        let beyond = run(rounds * 9);
        is_over.store(true, Ordering::Relaxed);
        (outcome, took, beyond)
    });
    println!("{rounds} rounds, a third of {CPU:?} of CPU time, took {took:?} by the clock");
    assert!(matches!(outcome, ChainOutcome::Send(_)), "{outcome:?}");
    assert!(took > CPU, "the machine was not busy: {took:?}");
    let ChainOutcome::Held(failure) = beyond else { panic!("{beyond:?}") };
    assert_eq!(failure.kind, PluginFailureKind::Deadline);
    assert!(failure.message.contains("CPU time of 150 ms"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_always_runs_to_its_deadline_fails_no_other() {
    let scene = Scene::of(guests::ENDLESS_LOOP);
    assert!(scene.serves_on().await);
    let is_over = AtomicBool::new(false);
    let endless = [scene.used(json!({}), OnError::Hold)];
    let looping = async {
        let mut deadlines = 0;
        while !is_over.load(Ordering::Relaxed) {
            let outcome = scene.runtime.run(&endless, payload()).await;
            assert!(matches!(outcome, ChainOutcome::Held(_)), "{outcome:?}");
            deadlines += 1;
        }
        deadlines
    };
    let serving = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..300 {
            let begun = Instant::now();
            let chain: [PluginUse; 1] = [good()];
            let ChainOutcome::Send(body) = scene.runtime.run(&chain, payload()).await else { panic!("it is innocent") };
            let sent: Value = serde_json::from_slice(&body.bytes).unwrap();
            assert_eq!(sent["runs"].as_array().unwrap().len(), 1);
            slowest = slowest.max(begun.elapsed());
            // So that there are some deadlines beside it.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        is_over.store(true, Ordering::Relaxed);
        slowest
    };
    let (deadlines, slowest) = tokio::join!(looping, serving);
    println!("the slowest of 300 beside {deadlines} deadlines: {slowest:?}");
    assert!(deadlines > 2);
    // On one core they take turns: the other's time, by the clock, and what a busy machine adds.
    assert!(slowest < Duration::from_millis(200 + 500), "{slowest:?}");
}
