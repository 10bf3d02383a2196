//! The commands for authors, and the tutorial from the new crate to the running plugin.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::host_process::{BINARY, HostProcess, HostSettings};
use crate::support::guest_crate;

const PAYLOAD: &str = r#"{"rule_id":"r","runs":[
    {"id":"1","name":"slow","start_time":"2026-07-01T09:00:00","end_time":"2026-07-01T09:00:09"},
    {"id":"2","name":"fast","start_time":"2026-07-01T09:00:00","end_time":"2026-07-01T09:00:01"}]}"#;

fn run(arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(BINARY).args(arguments).output().unwrap();
    (status.success(), [stdout, stderr].map(|text| String::from_utf8(text).unwrap()).concat())
}

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("payload.json"), PAYLOAD).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[test]
fn every_kind_of_new_plugin_builds_as_a_component_and_passes_its_own_test() {
    let scene = Scene::set();
    for kind in ["filter", "transform", "render"] {
        let name = format!("new-{kind}");
        let (is_ok, text) = run(&["plugin", "new", &name, "--kind", kind, "--directory", &scene.path("")]);
        assert!(is_ok, "{text}");
        let directory = scene.folder.path().join(&name);
        guest_crate::cargo(&directory, &["test", "--quiet"]);
        let component = guest_crate::build(&directory);
        let (is_ok, checked) = run(&["plugin", "check", component.to_str().unwrap()]);
        assert!(is_ok && checked.contains(&format!("stages       {kind}\n")), "{checked}");
        let payload = directory.join("payload.json");
        let (is_ok, tested) =
            run(&["plugin", "test", component.to_str().unwrap(), "--payload", payload.to_str().unwrap()]);
        assert!(is_ok && tested.contains("log lines"), "{tested}");
    }
}

/// Looks up what is not there, two calls deep. Of what the compiler inlines, debug info has the name without the crate's.
const TRAPS: &str = r#"
use runhook_sdk::prelude::*;

#[transform]
fn apply(payload: &Payload) {
    for run in payload.runs() {
        let price = price(&run.name());
        run.set("/price", price).ok();
    }
}

fn price(name: &str) -> usize {
    [1, 2, 3][place(name)]
}

#[inline(never)]
fn place(name: &str) -> usize {
    name.parse::<usize>().unwrap()
}
"#;

#[test]
fn a_new_plugins_trap_is_shown_with_its_functions_files_and_lines() {
    let scene = Scene::set();
    let (is_ok, text) = run(&["plugin", "new", "prices", "--kind", "transform", "--directory", &scene.path("")]);
    assert!(is_ok, "{text}");
    std::fs::write(scene.path("prices/src/lib.rs"), TRAPS.trim_start()).unwrap();
    let component = guest_crate::build(&scene.folder.path().join("prices"));
    let (is_ok, text) = run(&["plugin", "test", component.to_str().unwrap(), "--payload", &scene.path("payload.json")]);
    println!("{text}");
    assert!(!is_ok && text.contains("FAILED in `apply`: panicked at src/lib.rs:17:27: "), "{text}");
    let frames: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  in ")).collect();
    let expected = [("prices::place", 17), ("price", 12), ("apply", 6)];
    assert_eq!(frames.len(), expected.len(), "{text}");
    for (frame, (function, line)) in frames.iter().zip(expected) {
        assert!(
            frame.starts_with(&format!("{function} at ")) && frame.ends_with(&format!("src/lib.rs:{line}")),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_plugin_takes_effect_on_a_running_host() {
    let scene = Scene::set();
    let (is_ok, text) = run(&["plugin", "new", "slow-runs", "--kind", "filter", "--directory", &scene.path("")]);
    assert!(is_ok, "{text}");
    // The one line that the tutorial edits, as it stands there.
    let tutorial = include_str!("../../docs/plugins.md");
    let line = tutorial.lines().find(|line| line.contains("run.latency_ms()")).expect("the tutorial edits a line");
    let source = scene.path("slow-runs/src/lib.rs");
    let code = std::fs::read_to_string(&source).unwrap();
    let body = code.split("fn keep(").nth(1).and_then(|rest| rest.lines().nth(1)).expect("the scaffold has a `keep`");
    std::fs::write(&source, code.replacen(body, &format!("    {}", line.trim()), 1)).unwrap();
    let component = guest_crate::build(&scene.folder.path().join("slow-runs"));

    let (is_ok, checked) = run(&["plugin", "check", component.to_str().unwrap()]);
    assert!(
        is_ok && checked.contains("a rule names it `slow-runs`") && checked.contains("stages       filter"),
        "{checked}"
    );
    let (is_ok, tested) =
        run(&["plugin", "test", component.to_str().unwrap(), "--payload", &scene.path("payload.json")]);
    assert!(is_ok && tested.contains("keeps 1 of 2 runs"), "{tested}");
    assert!(tested.contains("-       \"name\": \"fast\""), "{tested}");
    assert!(tested.contains("CPU time") && tested.contains("50.0"), "{tested}");

    let plugins = scene.folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let mut settings = HostSettings::on(&scene.folder.path().join("data"));
    settings.plugins = Some(plugins.clone());
    let host = HostProcess::start(&settings);
    // The first look at the list compiles the plugins in the binary.
    host.cli_ok(&["plugin", "list"]);
    let copied = Instant::now();
    std::fs::copy(&component, plugins.join("slow_runs.wasm")).unwrap();
    let is_active = |answer: &serde_json::Value| {
        answer["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .any(|plugin| plugin["name"] == "slow-runs" && plugin["error"].is_null())
    };
    host.until("/api/v1/plugins", is_active).await;
    println!("takes effect {} ms after the copy", copied.elapsed().as_millis());
    assert!(copied.elapsed() < Duration::from_secs(10));
    let listed = host.cli_ok(&["plugin", "list"]);
    assert!(listed.contains("slow-runs") && listed.contains("errors-only"), "{listed}");
}

#[test]
fn a_plugin_test_fails_as_its_plugin_does() {
    let scene = Scene::set();
    let test = |guest: &str, options: &[&str]| {
        run(&[&["plugin", "test", guest, "--payload", &scene.path("payload.json")], options].concat())
    };
    let (is_ok, text) = test(runhook_test_guests::PANICS, &[]);
    assert!(!is_ok && text.contains("FAILED in `apply`: panicked at") && text.contains("panics.rs:7:5"), "{text}");
    let (is_ok, text) = test(runhook_test_guests::REFUSES_CONFIG, &["--config", r#"{"word":"now"}"#]);
    assert!(!is_ok && text.contains("say please"), "{text}");
    let (is_ok, text) = test(runhook_test_guests::ALL_STAGES, &["--config", r#"{"mark":"m"}"#]);
    assert!(is_ok && text.contains("nothing would be sent"), "{text}");
    let (is_ok, text) = test(runhook_test_guests::RENAMES, &["--config", "[]"]);
    assert!(!is_ok && text.contains("a configuration is a JSON object"), "{text}");
    let (is_ok, text) = run(&["plugin", "test", runhook_test_guests::RENAMES, "--payload", "/no/such/file"]);
    assert!(!is_ok && text.contains("/no/such/file"), "{text}");
    let linked =
        r#"{"runs":[{"id":"1","inputs":null,"inputs_s3_urls":{"ROOT":{"presigned_url":"https://elsewhere"}}}]}"#;
    std::fs::write(scene.path("payload.json"), linked).unwrap();
    let (is_ok, text) = test(runhook_test_guests::READS_INPUTS, &[]);
    assert!(!is_ok && text.contains("the inputs of the run 1 lie elsewhere; the host would fetch them"), "{text}");
    assert!(!text.contains("\n  in "), "where the host ends a call, no place is looked for: {text}");
    let no_payload = scene.path("payload.json");
    std::fs::write(&no_payload, "{\"runs\":\n 7}").unwrap();
    let (is_ok, text) = test(runhook_test_guests::RENAMES, &[]);
    assert!(!is_ok && text.contains("`runs` or `threads`"), "{text}");
}

#[test]
fn a_plugin_test_names_the_runs_that_were_dropped() {
    let scene = Scene::set();
    let payload = r#"{"runs":[{"id":"one","name":"a","total_tokens":1},{"id":"two","total_tokens":2}]}"#;
    std::fs::write(scene.path("payload.json"), payload).unwrap();
    let (is_ok, text) =
        run(&["plugin", "test", runhook_test_guests::KEEPS_EVEN, "--payload", &scene.path("payload.json")]);
    assert!(is_ok && text.starts_with("keeps 1 of 2 runs\n  dropped  one  a\n  kept     two\n"), "{text}");
}

#[test]
fn a_plugin_bench_measures_a_plugin_and_fails_as_it_does() {
    let scene = Scene::set();
    let bench = |guest: &str, options: &[&str]| {
        let payload = scene.path("payload.json");
        run(&[&["plugin", "bench", guest, "--payload", &payload, "--seconds", "1"], options].concat())
    };
    let (is_ok, text) = bench(runhook_test_guests::RENAMES, &["--config", r#"{"name":"n"}"#]);
    assert!(is_ok, "{text}");
    for words in ["a payload of 2 runs", "per run", "fresh instance", "host without", "50.0", "payloads per second"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(!text.contains("for every payload"), "{text}");
    let (is_ok, text) = bench(runhook_test_guests::PRINTS_IN_CONFIGURE, &[]);
    assert!(is_ok && text.contains("configured for every payload: it keeps a handle or a stream"), "{text}");
    let (is_ok, text) = bench(runhook_test_guests::PANICS, &[]);
    assert!(!is_ok && text.contains("FAILED in `apply`: panicked at") && text.contains("CPU time"), "{text}");
    let (is_ok, text) = bench(runhook_test_guests::RENAMES, &["--config", r#"{"nmae":"n"}"#]);
    assert!(!is_ok && text.contains("unknown field `nmae`"), "{text}");
    let (is_ok, text) = run(&["plugin", "bench", "a.wasm", "--payload", "payload.json", "--seconds", "0"]);
    assert!(!is_ok && text.contains("1..=600"), "{text}");
}

#[test]
fn a_plugin_check_shows_size_contract_and_grants() {
    let (is_ok, text) = run(&["plugin", "check", runhook_test_guests::RENAMES, "--config", r#"{"name":"n"}"#]);
    for words in ["of 16.00 MiB", "contract     1.0.0", "runhook:plugin/lifecycle@1.0.0", "needs none; has none"] {
        assert!(is_ok && text.contains(words), "{words:?} is not in {text}");
    }
    assert!(!text.contains("signed "), "no policy asks for signatures: {text}");
    let scene = Scene::set();
    std::fs::write(scene.path("plugins.toml"), "[plugins.clock-and-random]\ngrants = [\"clock\", \"random\"]").unwrap();
    let policy = scene.path("plugins.toml");
    let (is_ok, text) = run(&["plugin", "check", runhook_test_guests::CLOCK_AND_RANDOM, "--plugin-policy", &policy]);
    assert!(is_ok && text.contains("needs clock, random; has clock, random"), "{text}");
}

#[test]
fn a_plugin_check_says_why_the_host_would_not_load_it() {
    for (guest, words) in [
        (runhook_test_guests::CORE_MODULE, "build it with --target wasm32-wasip2"),
        (runhook_test_guests::UNGRANTED_IMPORT, "wasi:filesystem/"),
        (runhook_test_guests::TRUNCATED, "damaged or incomplete"),
    ] {
        let (is_ok, text) = run(&["plugin", "check", guest]);
        assert!(!is_ok && text.contains(words), "{text}");
    }
    let (is_ok, text) = run(&["plugin", "check", runhook_test_guests::RENAMES]);
    assert!(is_ok && text.contains("runhook:plugin/document@1.0.0") && text.contains("\"name\""), "{text}");
    let (is_ok, text) = run(&["plugin", "check", runhook_test_guests::ECHOES_CONFIG]);
    assert!(is_ok && text.contains("not tried: it wants a configuration (--config)"), "{text}");
}

#[test]
fn a_plugin_check_says_whether_payloads_start_from_a_snapshot() {
    let check = |guest: &str, config: &str| run(&["plugin", "check", guest, "--config", config]);
    let (is_ok, text) = check(runhook_test_guests::RENAMES, r#"{"name":"n"}"#);
    assert!(is_ok && text.contains("configured   once; payloads start from a snapshot"), "{text}");
    let (is_ok, text) = check(runhook_test_guests::PRINTS_IN_CONFIGURE, "{}");
    assert!(is_ok && text.contains("configured   for every payload: it keeps a handle or a stream"), "{text}");
    let (is_ok, text) = check(runhook_test_guests::REFUSES_CONFIG, r#"{"word":"now"}"#);
    assert!(!is_ok && text.contains("say please"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_the_cap_is_answered_with_the_limit_that_lets_it_in() {
    let scene = Scene::set();
    let file = scene.path("large.wasm");
    std::fs::write(&file, vec![0; 1024 * 1024 + 1]).unwrap();
    let words = "it has 2 MiB and may have 1; the plugin policy can allow it more, `file_mib = 2`";
    let policy = |limits: &str| {
        std::fs::write(scene.path("plugins.toml"), limits).unwrap();
        scene.path("plugins.toml")
    };
    let one = "[limits]\nfile_mib = 1";
    let (is_ok, text) = run(&["plugin", "check", &file, "--plugin-policy", &policy(one)]);
    assert!(!is_ok && text.contains(words), "{text}");
    let two = format!("{one}\n[plugins.large]\nlimits = {{ file_mib = 2 }}");
    let (is_ok, text) = run(&["plugin", "check", &file, "--plugin-policy", &policy(&two)]);
    assert!(!is_ok && text.contains("it is no WebAssembly"), "{text}");
    let mut settings = HostSettings::on(&scene.folder.path().join("data"));
    settings.plugins = Some(scene.folder.path().to_owned());
    settings.arguments = ["--plugin-policy", &policy(one)].map(str::to_owned).to_vec();
    let host = HostProcess::start(&settings);
    let listed = host.cli_ok(&["plugin", "list"]);
    assert!(listed.contains(words), "{listed}");
}

#[test]
fn the_contract_is_printed_as_it_stands() {
    assert_eq!(run(&["plugin", "wit"]), (true, include_str!("../../wit/plugin.wit").to_owned()));
}

#[test]
fn a_command_that_finds_no_host_or_key_says_what_to_do() {
    let scene = Scene::set();
    let missing = scene.path("nowhere");
    let (is_ok, text) = run(&["rule", "list", "--data", &missing]);
    assert!(!is_ok && text.contains("RUNHOOK_API_KEY"), "{text}");
    std::fs::write(scene.path("api-key"), "rh_1\n").unwrap();
    let (is_ok, text) = run(&["rule", "list", "--data", &scene.path(""), "--server", "http://127.0.0.1:1"]);
    assert!(!is_ok && text.contains("runhook serve"), "{text}");
    let (is_ok, text) = run(&["rule", "list", "--data", &scene.path(""), "--server", "localhost"]);
    assert!(!is_ok && text.contains("http://127.0.0.1:8484"), "{text}");
    let (is_ok, text) = run(&["deliveries", "list", "--state", "lost"]);
    assert!(!is_ok && text.contains("pending, held"), "{text}");
    assert_eq!(json!(run(&["--version"]).0), json!(true));
}

#[test]
fn the_demo_ends_with_everything_delivered() {
    let (is_ok, text) = run(&["demo", "--once"]);
    assert!(is_ok, "{text}");
    for words in ["503   server_error", "200   delivered", "[redacted]", "\"blocks\"", "All is delivered."] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    for secret in ["4111 1111", "ada@example.com"] {
        let after = text.split("What arrived:").nth(1).unwrap();
        assert!(!after.contains(secret), "{secret} is still there: {after}");
    }
}
