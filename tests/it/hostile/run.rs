//! What a plugin can do to a payload, as a table: the host says who failed, where and why, does as the rule says, and
//! serves on.

use std::fs;
use std::time::{Duration, Instant};

use runhook::model::plugin::{OnError, PluginFailureKind};
use runhook::plugin::{ChainOutcome, Grant, PluginLimits, PluginPolicy, PluginRuntime, Terms};
use runhook_test_guests as guests;
use serde_json::json;

use crate::hostile::handmade::Handmade;
use crate::support::plugin_scene::{Scene, payload, used};

/// A plugin that fails on a payload.
pub(super) struct Case {
    /// Which of the cases of hostile.rs; 0 for a failure that means no harm.
    pub(super) number: u8,
    does: &'static str,
    plugin: Plugin,
    kind: PluginFailureKind,
    export: &'static str,
    /// What the failure has to say.
    says: &'static str,
}

enum Plugin {
    /// One of tests/guests.
    Built(&'static str),
    Handmade(Handmade),
}

/// For those that hit another limit than that of time, which a busy machine must not make them hit.
pub(super) const AMPLE: Duration = Duration::from_secs(2);

/// How far behind its deadline a payload may come back where other tests keep the machine busy.
const TOLERANCE: Duration = Duration::from_millis(500);

pub(super) fn cases() -> Vec<Case> {
    use PluginFailureKind::{Deadline, Limit, Refused, Trap};
    let built = |number, guest, kind, export, says| {
        let plugin = Plugin::Built(path(guest));
        Case { number, does: guest, plugin, kind, export, says }
    };
    let by_hand = |number, does, handmade, kind, says| Case {
        number,
        does,
        plugin: Plugin::Handmade(handmade),
        kind,
        export: "apply",
        says,
    };
    let applying = Handmade::applying;
    vec![
        built(15, "endless_loop", Deadline, "keep", "it used up its"),
        built(15, "loops_in_configure", Deadline, "configure", "it used up its"),
        by_hand(15, "loops after it has answered", looping_at_the_end(), Deadline, "it used up its"),
        built(16, "memory_bomb", Limit, "keep", "64 MiB of memory"),
        built(16, "hoards_in_configure", Limit, "configure", "64 MiB of memory"),
        built(17, "stack_overflow", Trap, "keep", "stack"),
        by_hand(18, "reads beyond its memory", applying("(i32.load (i32.const -4)) drop"), Trap, "out of bounds"),
        by_hand(
            18,
            "divides by zero",
            applying("(i32.div_u (i32.const 1) (i32.const 0)) drop"),
            Trap,
            "divide by zero",
        ),
        built(19, "panics", Trap, "apply", "panics.rs:7:5: no idea"),
        built(19, "panics_in_configure", Trap, "configure", "panics_in_configure.rs:14:5: no idea how"),
        built(20, "process_exit", Trap, "keep", "ended its process with the code 0"),
        built(20, "exits_in_configure", Trap, "configure", "ended its process with the code"),
        built(21, "panics_counting", Trap, "keep", "call 1"),
        by_hand(22, "answers with 4 GiB", applying(A_GIANT_ANSWER), Trap, "out of bounds"),
        built(22, "giant_error", Refused, "keep", "no! no! "),
        built(22, "giant_edit", Limit, "apply", "wrote more than 8 MiB"),
        built(22, "giant_output", Limit, "render", "wrote more than 8 MiB"),
        built(22, "twin_bomb", Refused, "apply", "16 MiB"),
        by_hand(23, "answers with a text that is none", applying(NO_TEXT_AS_ANSWER), Trap, "utf-8"),
        by_hand(23, "asks with a text that is none", applying(NO_TEXT_AS_POINTER), Trap, "utf-8"),
        built(27, "host_call_flood", Limit, "keep", "called the host more than 100000 times"),
        built(30, "handle_leak", Limit, "apply", "more than its 10000 handles (limit `handles`)"),
        by_hand(30, "drops a handle twice", applying(A_DOUBLE_DROP), Trap, "unknown handle index"),
        by_hand(
            30,
            "drops a handle that it never had",
            applying("(call $run.drop (i32.const 7))"),
            Trap,
            "unknown handle",
        ),
        by_hand(30, "passes the payload for a run", applying(A_WRONG_HANDLE), Trap, "handle"),
        by_hand(31, "keeps the payload that it was lent", applying("(nop)"), Trap, "borrow handles still remain"),
        by_hand(32, "traps while a resource of its own is dropped", trapping_drop(), Trap, "unreachable"),
        by_hand(32, "traps while its answer is given back", trapping_at_the_end(), Trap, "unreachable"),
        by_hand(33, "calls itself from outside", re_entering(), Trap, "cannot enter component instance"),
        by_hand(
            34,
            "asks for 1 TiB of random bytes",
            Handmade::drawing(Handmade::A_GIANT_DRAW),
            Limit,
            "65536 random bytes at once",
        ),
        by_hand(
            34,
            "asks for random bytes without end",
            Handmade::drawing(DRAWS_WITHOUT_END),
            Limit,
            "read more than 1 MiB",
        ),
        by_hand(
            34,
            "asks for random numbers without end",
            Handmade::drawing(NUMBERS_WITHOUT_END),
            Limit,
            "called the host more",
        ),
        by_hand(35, "grows a table until it is refused", growing_table(), Limit, "20000 table elements"),
        built(0, "refuses_config", Refused, "configure", "word"),
        built(0, "refuses_payload", Refused, "apply", "not this one"),
    ]
}

/// Guests of tests/guests that do no harm, or not to a payload. A new one has to be named here or above.
const GOOD: &[&str] = &[
    "all_stages",
    "asks_for_all",
    "awkward_json_set",
    "breaks_on_demand",
    "burns",
    "clock_and_random",
    "counts_calls",
    "counts_configures",
    "deep_pointer",
    "echoes_config",
    "edits_in_keep",
    "hash_order",
    "invalid_json_set",
    "keeps_even",
    "prints_flood",
    "prints_in_configure",
    "reads_inputs",
    "reads_stdin",
    "reads_three",
    "renames",
    "ungranted_import",
    "whole_contract",
];

fn path(guest: &str) -> &'static str {
    let found = guests::ALL.iter().find(|(name, _)| *name == guest);
    found.unwrap_or_else(|| panic!("there is no guest `{guest}`")).1
}

const A_GIANT_ANSWER: &str = "
  (call $payload.drop (local.get $payload))
  (i32.store (i32.const 128) (i32.const 1))
  (i32.store (i32.const 132) (i32.const 0))
  (i32.store (i32.const 136) (i32.const -1))
  (return (i32.const 128))";

const NO_TEXT_AS_ANSWER: &str = "
  (call $payload.drop (local.get $payload))
  (i32.store (i32.const 128) (i32.const 1))
  (i32.store (i32.const 132) (i32.const 256))
  (i32.store (i32.const 136) (i32.const 4))
  (i32.store (i32.const 256) (i32.const -1))
  (return (i32.const 128))";

const NO_TEXT_AS_POINTER: &str = "
  (i32.store (i32.const 256) (i32.const -1))
  (call $payload.text (local.get $payload) (i32.const 256) (i32.const 4) (i32.const 128))";

const A_DOUBLE_DROP: &str = "
  (call $payload.run (local.get $payload) (i32.const 0) (i32.const 128))
  (call $run.drop (i32.load (i32.const 132)))
  (call $run.drop (i32.load (i32.const 132)))";

const A_WRONG_HANDLE: &str = "(call $run.id (local.get $payload) (i32.const 128))";

const DRAWS_WITHOUT_END: &str = "
  (loop (call $random.bytes (i64.const 4096) (i32.const 128)) (call $libc.reset) (br 0))";

const NUMBERS_WITHOUT_END: &str = "(loop (call $random.number) drop (br 0))";

fn looping_at_the_end() -> Handmade {
    Handmade {
        inside: r#"(func (export "end") (param i32) (loop (br 0)))"#,
        options: r#"(post-return (func $guest "end"))"#,
        ..Handmade::default()
    }
}

fn trapping_at_the_end() -> Handmade {
    Handmade {
        inside: r#"(func (export "end") (param i32) unreachable)"#,
        options: r#"(post-return (func $guest "end"))"#,
        ..Handmade::default()
    }
}

fn trapping_drop() -> Handmade {
    Handmade {
        outside: r#"
  (core module $end (func (export "end") (param i32) unreachable))
  (core instance $end (instantiate $end))
  (type $thing (resource (rep i32) (dtor (func $end "end"))))
  (core func $thing.new (canon resource.new $thing))
  (core func $thing.drop (canon resource.drop $thing))"#,
        inside: r#"
  (import "thing" "new" (func $thing.new (param i32) (result i32)))
  (import "thing" "drop" (func $thing.drop (param i32)))"#,
        given: r#"(with "thing" (instance (export "new" (func $thing.new)) (export "drop" (func $thing.drop))))"#,
        apply: "(call $thing.drop (call $thing.new (i32.const 1)))",
        ..Handmade::default()
    }
}

/// A function of the component that is lifted and lowered again, so that calling it means entering the component.
fn re_entering() -> Handmade {
    Handmade {
        outside: r#"
  (core module $inner (func (export "enter")))
  (core instance $inner (instantiate $inner))
  (func $enter (canon lift (core func $inner "enter")))
  (core func $again (canon lower (func $enter)))"#,
        inside: r#"(import "again" "enter" (func $enter))"#,
        given: r#"(with "again" (instance (export "enter" (func $again))))"#,
        apply: "(call $enter)",
        ..Handmade::default()
    }
}

fn growing_table() -> Handmade {
    Handmade {
        inside: "(table $t 1 funcref)",
        apply: "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
        ..Handmade::default()
    }
}

#[test]
fn every_guest_is_a_case_or_good() {
    let cases = cases();
    let is_known = |guest: &&str| GOOD.contains(guest) || cases.iter().any(|case| case.does == *guest);
    let unknown: Vec<_> = guests::ALL.iter().map(|(guest, _)| *guest).filter(|guest| !is_known(guest)).collect();
    assert!(unknown.is_empty(), "no test expects anything of {unknown:?}");
}

impl Case {
    fn file(&self) -> Vec<u8> {
        match &self.plugin {
            Plugin::Built(path) => fs::read(path).unwrap(),
            Plugin::Handmade(handmade) => handmade.bytes(),
        }
    }

    /// All but those that are to run out of time have ample.
    fn limits(&self) -> PluginLimits {
        let usual = PluginLimits { bytes_in: 8 << 20, ..PluginLimits::default() };
        match (self.number, self.kind) {
            (_, PluginFailureKind::Deadline) => usual,
            (34, _) => PluginLimits { cpu_base: AMPLE, bytes_out: 1 << 20, ..usual },
            _ => PluginLimits { cpu_base: AMPLE, ..usual },
        }
    }

    /// What is wrong.
    async fn check(&self, name: &str, scene: &Scene) -> Vec<String> {
        let limits = self.limits();
        let deadline = limits.cpu(payload().len()) * limits.wall_factor;
        let mut wrong = Vec::new();
        for on_error in [OnError::Hold, OnError::Skip, OnError::Drop] {
            let begun = Instant::now();
            let outcome = scene.runtime.run(&[used(name, json!({}), on_error)], payload()).await;
            let took = begun.elapsed();
            let is_right = match (on_error, &outcome) {
                (OnError::Hold, ChainOutcome::Held(failure)) | (OnError::Drop, ChainOutcome::Dropped(failure)) => {
                    println!("{:2} {}: {took:?}, {:.160}", self.number, self.does, failure.to_string());
                    failure.kind == self.kind
                        && failure.export == self.export
                        && failure.message.contains(self.says)
                        && failure.plugin.as_str() == name
                }
                (OnError::Skip, ChainOutcome::Send(body)) => body.bytes == payload(),
                _ => false,
            };
            if !is_right || took > deadline + TOLERANCE {
                wrong.push(format!("{} {}: after {took:?} {outcome:?}", self.number, self.does));
            }
            if !scene.serves_on().await {
                wrong.push(format!("{} {}: the good plugin suffers", self.number, self.does));
            }
        }
        wrong
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_named_with_its_cause_follows_on_error_and_the_next_payload_passes() {
    let cases: Vec<_> = cases().into_iter().enumerate().map(|(index, case)| (format!("case-{index}"), case)).collect();
    let terms = |case: &Case| {
        let grants = [Grant::Random].into_iter().collect();
        Terms { limits: case.limits(), grants, ..Terms::default() }
    };
    let plugins = cases.iter().map(|(name, case)| (name.parse().unwrap(), terms(case))).collect();
    let files: Vec<_> = cases.iter().map(|(name, case)| (format!("{name}.wasm"), case.file())).collect();
    let files: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file.as_slice())).collect();
    let scene = Scene::holding(&files, PluginPolicy { plugins, ..PluginPolicy::default() });
    assert!(scene.serves_on().await);
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        wrong.extend(case.check(name, &scene).await);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
