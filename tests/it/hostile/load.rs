//! What a file of the plugin directory can do before it is a plugin, as a table: it is refused in words, what is beside
//! it is loaded and serves.

use std::time::{Duration, Instant};

use runhook::model::plugin::{OnError, PluginFailureKind};
use runhook::plugin::{ChainOutcome, PluginPolicy, PluginRuntime};
use runhook_test_guests as guests;
use serde_json::json;

use crate::hostile::handmade::{Handmade, component};
use crate::support::plugin_scene::{Scene, payload, used};

/// A file that is refused.
pub(super) struct Case {
    /// Which of the cases of hostile.rs.
    pub(super) number: u8,
    does: &'static str,
    file: Vec<u8>,
    /// What the refusal has to say.
    says: &'static str,
}

const MIB: usize = 1024 * 1024;

/// Compiling apart, so long may a refusal take. Generous: the machine may be busy with other tests.
const BOUND: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    let built = |path: &str| std::fs::read(path).unwrap();
    let inside = |inside| Handmade { inside, ..Handmade::default() }.bytes();
    let outside = |outside| Handmade { outside, ..Handmade::default() }.bytes();
    let exporting = |exports| Handmade { exports, ..Handmade::default() }.bytes();
    let with_options = |options| Handmade { options, ..Handmade::default() }.bytes();
    let with_memory = |memory| Handmade { memory, ..Handmade::default() }.bytes();
    let case = |number, does, says, file| Case { number, does, file, says };
    let mut cases = vec![
        case(1, "is text", "no WebAssembly", b"plugin = true\n".to_vec()),
        case(1, "is empty", "no WebAssembly", Vec::new()),
        case(1, "is the text of a component", "no WebAssembly", b"(component)".to_vec()),
        case(2, "ends within its first bytes", "damaged", b"\0asm\x0d".to_vec()),
        case(2, "is cut in half", "damaged", built(guests::TRUNCATED)),
        case(3, "is a core module", "core module", built(guests::CORE_MODULE)),
        case(4, "exports nothing", "does not export `runhook:plugin/lifecycle`", exporting("")),
        case(4, "has no stage", "exports no stage", exporting(LIFECYCLE_ALONE)),
        case(4, "has a stage of another shape", "failed in `apply`: ", exporting(A_STAGE_OF_ANOTHER_SHAPE)),
        case(5, "opens files and sockets", "wasi:filesystem/", built(guests::UNGRANTED_IMPORT)),
        case(5, "wants what can be granted", "[\"clock\", \"random\"]", built(guests::CLOCK_AND_RANDOM)),
        case(6, "takes the name of a run for a number", "version or shape", outside(AN_IMPORT_OF_ANOTHER_TYPE)),
        case(6, "wants a function that there is not", "version or shape", outside(AN_UNKNOWN_IMPORT)),
        case(7, "is larger than it may be", "has 17 MiB and may have 16", vec![0; 17 * MIB]),
        case(9, "has 500 core instances", "500 core module instances", many_core_instances()),
        case(9, "has nine tables", "tables count of 9", inside(NINE_TABLES)),
        case(9, "begins with a table of 100 million elements", "table", inside("(table 100000000 funcref)")),
        case(9, "begins with a memory of 4 GiB", "memory", with_memory("65536")),
        case(9, "begins with a memory of 65 MiB", "memory", with_memory("1040")),
        case(10, "loops in its start function", "failed in `instantiate`: it used up its", inside(A_LOOPING_START)),
        case(
            10,
            "loops where it describes itself",
            "failed in `describe`: it used up its",
            exporting(A_LOOPING_DESCRIBE),
        ),
        case(11, "passes strings in UTF-16", "strings in UTF-16", with_options("string-encoding=utf16")),
        case(11, "passes strings in Latin-1", "strings in Latin-1", with_options("string-encoding=latin1+utf16")),
        case(11, "has a component with code within", "components with code within", outside(CODE_WITHIN)),
        case(11, "answers later", "async", with_options("async")),
        case(16, "has two memories, each within the limit", "2 Wasm linear memories", outside(A_SECOND_MEMORY)),
    ];
    cases.extend(PROPOSALS.iter().map(|(does, field, says)| case(11, does, says, inside(field))));
    cases
}

const CODE_WITHIN: &str = "(component (component (core module)))";

/// What the sandbox leaves out of WebAssembly, each as a field of a module that uses it, and what the refusal says.
const PROPOSALS: &[(&str, &str, &str)] = &[
    ("uses garbage collection", "(type (struct (field i32)))", "without the gc feature"),
    (
        "uses typed function references",
        "(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))",
        "function references required",
    ),
    ("uses memories of 64 bits", "(memory i64 1)", "memory64 must be enabled"),
    ("uses two memories in a module", "(memory 1)", "2 Wasm linear memories"),
    ("uses shared memory", "(memory 1 1 shared)", "threads"),
    ("uses atomic operations", "(func (drop (i32.atomic.load (i32.const 0))))", "threads"),
    ("uses exceptions", "(tag) (func (throw 0))", "exceptions proposal not enabled"),
    ("uses tail calls", "(func $again (return_call $again))", "tail calls"),
    (
        "uses relaxed SIMD",
        "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
        "relaxed SIMD",
    ),
    ("uses pages of one byte", "(memory 1 (pagesize 1))", "custom page sizes proposal"),
    ("uses wide arithmetic", "(func (i64.mul_wide_u (i64.const 1) (i64.const 1)) drop drop)", "wide arithmetic"),
    ("switches stacks", "(type $f (func)) (type $c (cont $f))", "stack switching"),
];

const LIFECYCLE_ALONE: &str = r#"(export "runhook:plugin/lifecycle@1.0.0" (instance $lifecycle))"#;

const A_STAGE_OF_ANOTHER_SHAPE: &str = r#"
  (core module $other (func (export "apply") (result i32) (i32.const 0)))
  (core instance $other (instantiate $other))
  (func $applies (result u32) (canon lift (core func $other "apply")))
  (instance $other (export "apply" (func $applies)))
  (export "runhook:plugin/lifecycle@1.0.0" (instance $lifecycle))
  (export "runhook:plugin/transform@1.0.0" (instance $other))"#;

const A_LOOPING_DESCRIBE: &str = r#"
  (core module $other (func (export "describe") (result i32) (loop (br 0)) (i32.const 0)))
  (core instance $other (instantiate $other))
  (func $describes (result string) (canon lift (core func $other "describe") (memory $libc "memory")))
  (instance $other (export "describe" (func $describes)) (export "configure" (func $configure)))
  (export "runhook:plugin/lifecycle@1.0.0" (instance $other))
  (export "runhook:plugin/transform@1.0.0" (instance $transform))"#;

const AN_IMPORT_OF_ANOTHER_TYPE: &str = r#"
  (import "runhook:plugin/log@1.0.0" (instance (export "log" (func (param "level" u32) (param "message" string)))))"#;

const AN_UNKNOWN_IMPORT: &str = r#"
  (import "runhook:plugin/log@1.9.0" (instance (export "log-to-file" (func (param "path" string)))))"#;

const A_LOOPING_START: &str = "(func $spin (loop (br 0))) (start $spin)";

const NINE_TABLES: &str = "(table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)
  (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)";

const A_SECOND_MEMORY: &str = "(core module $more (memory 960)) (core instance (instantiate $more))";

/// One module is a guest's, one its memory's.
fn many_core_instances() -> Vec<u8> {
    let module = "(core module $small)".to_owned();
    let instances = "(core instance (instantiate $small))".repeat(498);
    component(&Handmade::default().text().replacen(
        "(core module $libc",
        &format!("{module}{instances}(core module $libc"),
        1,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_never_work_is_refused_in_words_and_the_others_serve() {
    let cases = cases();
    let names: Vec<String> = (0..cases.len()).map(|number| format!("case_{number}.wasm")).collect();
    let mut files: Vec<_> =
        names.iter().zip(&cases).map(|(name, case)| (name.as_str(), case.file.as_slice())).collect();
    let good = std::fs::read(guests::RENAMES).unwrap();
    files.insert(files.len() / 2, ("renames.wasm", &good));
    let begun = Instant::now();
    let scene = Scene::holding(&files, PluginPolicy::default());
    println!("{} files in {:?}", files.len(), begun.elapsed());
    assert!(begun.elapsed() < BOUND * 4);

    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let name = format!("case-{number}");
        for on_error in [OnError::Hold, OnError::Skip, OnError::Drop] {
            let outcome = scene.runtime.run(&[used(&name, json!({}), on_error)], payload()).await;
            match (on_error, &outcome) {
                (OnError::Hold, ChainOutcome::Held(failure)) | (OnError::Drop, ChainOutcome::Dropped(failure)) => {
                    println!("{:2} {}: {:.200}", case.number, case.does, failure.to_string());
                    let is_named = failure.plugin.as_str() == name && failure.export == "load";
                    let is_right = failure.kind == PluginFailureKind::Load && failure.message.contains(case.says);
                    if !(is_named && is_right) {
                        wrong.push(format!("{} {}: {failure:?}", case.number, case.does));
                    }
                }
                (OnError::Skip, ChainOutcome::Send(body)) if body.bytes == payload() => {}
                _ => wrong.push(format!("{} {}: {outcome:?}", case.number, case.does)),
            }
        }
        let listed = scene.runtime.plugins().into_iter().find(|plugin| plugin.name == name).unwrap();
        assert!(listed.error.is_some() && listed.hash.is_none(), "{listed:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let renames = [used("renames", json!({"name": "n"}), OnError::Hold)];
    let ChainOutcome::Send(body) = scene.runtime.run(&renames, payload()).await else { panic!("a good plugin serves") };
    assert!(String::from_utf8_lossy(&body.bytes).contains(r#""name":"n""#));
    assert!(scene.serves_on().await);
}

/// Bits of a plugin that are flipped one by one: what comes of it may be a plugin or none, and harms nobody.
const FLIPS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_flipped_bit_is_refused_or_does_no_harm() {
    let whole = Handmade::applying(
        "(call $payload.run (local.get $payload) (i32.const 0) (i32.const 128))\
        (call $run.id (i32.load (i32.const 132)) (i32.const 136)) (call $run.drop (i32.load (i32.const 132)))\
        (call $payload.drop (local.get $payload))",
    )
    .bytes();
    let flipped = |number: usize| {
        let mut bytes = whole.clone();
        // Beyond the first eight bytes, which tell components apart, and spread over the rest.
        let bit = 64 + number * (whole.len() * 8 - 64) / FLIPS;
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let files: Vec<_> = (0..FLIPS).map(|number| (format!("flip_{number}.wasm"), flipped(number))).collect();
    let files: Vec<_> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .chain([("whole.wasm", whole.as_slice())])
        .collect();
    let scene = Scene::holding(&files, PluginPolicy::default());
    let (mut refused, mut works) = (0, 0);
    for number in 0..FLIPS {
        let begun = Instant::now();
        let flipped = [used(&format!("flip-{number}"), json!({}), OnError::Hold)];
        match scene.runtime.run(&flipped, payload()).await {
            ChainOutcome::Send(_) => works += 1,
            ChainOutcome::Held(_) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(begun.elapsed() < BOUND);
    }
    println!("{refused} of {FLIPS} fail, {works} work");
    assert!(refused > FLIPS / 4, "{refused}");
    let whole = [used("whole", json!({}), OnError::Hold)];
    assert!(matches!(scene.runtime.run(&whole, payload()).await, ChainOutcome::Send(_)));
    assert!(scene.serves_on().await);
}
