//! Hostile calls without end, many at once as in production: memory and open files of the process stay as they are.
//!
//! `RUNHOOK_SOAK_CALLS` asks for more of them.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runhook::model::plugin::{OnError, PluginFailureKind};
use runhook::plugin::{ChainOutcome, PluginPolicy, PluginRuntime};
use runhook_test_guests as guests;
use serde_json::json;

use crate::hostile::handmade::Handmade;
use crate::support::plugin_scene::{Scene, payload, used};

/// Calls that end at once; one in a thousand more runs to its deadline.
const CALLS: u64 = 20_000;
const CALLS_PER_DEADLINE: u64 = 1_000;

/// Payloads under way at once.
const SENDERS: u64 = 8;

/// What memory may grow by: what allocators keep differs from one moment to the next. A leak of a page for each call would
/// show as 4 GiB in the full soak, and as 80 MiB in the small one.
const GROWTH_KIB: u64 = 24 * 1024;

const POLICY: &str = "
    [plugins.endless-loop.limits]
    cpu_ms = 1
    [plugins.draws]
    grants = [\"random\"]";

fn calls() -> u64 {
    std::env::var("RUNHOOK_SOAK_CALLS").map_or(CALLS, |calls| calls.parse().expect("RUNHOOK_SOAK_CALLS is a number"))
}

#[test]
fn memory_and_open_files_stay_flat_over_hostile_calls_without_end() {
    // Alone in a process: other tests take and give back both.
    let soak = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::soak::soak", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&soak.stdout);
    println!("{text}\n{}", String::from_utf8_lossy(&soak.stderr));
    assert!(soak.status.success() && text.contains("1 passed"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test above, in a process of its own"]
async fn soak() {
    let scene = Arc::new(scene());
    let begun = Instant::now();
    // Until all that is kept for reuse is there.
    for name in AT_ONCE.iter().map(|(name, _)| *name).chain(["endless-loop"]) {
        scene.runtime.check(&used(name, json!({}), OnError::Hold)).await.unwrap();
    }
    flood(&scene, calls() / 10).await;
    let before = Held::now();
    let told = flood(&scene, calls()).await;
    let after = Held::now();
    println!("{told:?} in {:?}; {before:?}, then {after:?}", begun.elapsed());
    assert_eq!(told.iter().sum::<u64>(), calls() + calls() / CALLS_PER_DEADLINE);
    assert!(told.iter().all(|calls| *calls > 0));
    assert!(after.resident_kib < before.resident_kib + GROWTH_KIB, "{before:?} grew to {after:?}");
    assert!(after.files <= before.files + files_of_processes(), "{before:?} grew to {after:?}");
    assert!(scene.serves_on().await);
}

/// Each thread of guests has a process for each plugin once it has called it, and two pipes to it.
fn files_of_processes() -> usize {
    2 * (AT_ONCE.len() + 1) * std::thread::available_parallelism().unwrap().get()
}

fn scene() -> Scene {
    let beyond = Handmade::applying("(i32.load (i32.const -4)) drop");
    let files = [
        ("panics.wasm", fs::read(guests::PANICS).unwrap()),
        ("process_exit.wasm", fs::read(guests::PROCESS_EXIT).unwrap()),
        ("refuses_payload.wasm", fs::read(guests::REFUSES_PAYLOAD).unwrap()),
        ("stack_overflow.wasm", fs::read(guests::STACK_OVERFLOW).unwrap()),
        ("beyond.wasm", beyond.bytes()),
        ("draws.wasm", Handmade::drawing(Handmade::A_GIANT_DRAW).bytes()),
        ("endless_loop.wasm", fs::read(guests::ENDLESS_LOOP).unwrap()),
    ];
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Scene::holding(&files, PluginPolicy::parse(POLICY).unwrap())
}

/// The plugins that end at once, with how.
const AT_ONCE: [(&str, PluginFailureKind); 6] = [
    ("panics", PluginFailureKind::Trap),
    ("process-exit", PluginFailureKind::Trap),
    ("refuses-payload", PluginFailureKind::Refused),
    ("stack-overflow", PluginFailureKind::Trap),
    ("beyond", PluginFailureKind::Trap),
    ("draws", PluginFailureKind::Limit),
];

/// So many calls by all senders; how many there were of each plugin, the one that loops last.
async fn flood(scene: &Arc<Scene>, calls: u64) -> [u64; AT_ONCE.len() + 1] {
    let next = Arc::new(AtomicU64::new(0));
    let send = || {
        let (scene, next) = (scene.clone(), next.clone());
        tokio::spawn(async move {
            let mut told = [0; AT_ONCE.len() + 1];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return told;
                }
                let kind = (number % AT_ONCE.len() as u64) as usize;
                let (name, expected) = AT_ONCE[kind];
                fails(&scene, name, expected).await;
                told[kind] += 1;
                if number.is_multiple_of(CALLS_PER_DEADLINE) {
                    fails(&scene, "endless-loop", PluginFailureKind::Deadline).await;
                    told[AT_ONCE.len()] += 1;
                }
            }
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(|_| send()).collect();
    let mut told = [0; AT_ONCE.len() + 1];
    for sender in senders {
        for (sum, calls) in told.iter_mut().zip(sender.await.unwrap()) {
            *sum += calls;
        }
    }
    told
}

async fn fails(scene: &Scene, name: &str, expected: PluginFailureKind) {
    let begun = Instant::now();
    match scene.runtime.run(&[used(name, json!({}), OnError::Hold)], payload()).await {
        ChainOutcome::Held(failure) => assert_eq!(failure.kind, expected, "{failure}"),
        other => panic!("{name}: {other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{name} took {:?}", begun.elapsed());
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    files: usize,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { resident_kib, files: fs::read_dir("/proc/self/fd").unwrap().count() }
    }
}
