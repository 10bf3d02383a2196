//! Plugins in Python and JavaScript: built of our WIT by their own tools, run as every plugin is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::model::plugin::PluginUse;
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, WasmRuntime};
use serde_json::{Value, json};

use crate::host_process::BINARY;
use crate::support::peers::{componentize_js, componentize_py};
use crate::support::plugin_cache;

const MIB: u64 = 1024 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What makes components of a language, by its path.
enum Tool {
    ComponentizePy(String),
    ComponentizeJs(String),
}

impl Tool {
    /// The options that leave out what no plugin is granted.
    fn without_wasi(&self) -> &'static [&'static str] {
        match self {
            Self::ComponentizePy(_) => &["--stub-wasi"],
            Self::ComponentizeJs(_) => &["--disable", "stdio", "random", "clocks", "http", "fetch-event"],
        }
    }

    /// Builds `name.py` or `name.js` for a world of our WIT.
    fn build(&self, world: &str, name: &str, options: &[&str], out: &Path) {
        let (wit, sources) = (root().join("wit/plugin.wit"), root().join("tests/languages"));
        let mut command = match self {
            Self::ComponentizePy(program) => {
                // The tool writes bytecode beside the source.
                let (module, folder) = (name.replace('-', "_"), out.parent().unwrap());
                let source = format!("{module}.py");
                std::fs::copy(sources.join("python").join(&source), folder.join(&source)).unwrap();
                let mut command = Command::new(program);
                command.arg("-d").arg(wit).args(["-w", world, "componentize", &module]).arg("-p").arg(folder);
                command
            }
            Self::ComponentizeJs(program) => {
                let mut command = Command::new(program);
                let source = sources.join("javascript").join(name).with_extension("js");
                command.arg(source).arg("-w").arg(wit).args(["-n", world]);
                command
            }
        };
        let output = command.args(options).arg("-o").arg(out).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&text));
    }
}

/// Plugins of one language in a directory, and a runtime for them.
struct Scene {
    runtime: WasmRuntime,
    directory: tempfile::TempDir,
}

impl Scene {
    fn of(tool: &Tool, file_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, stage) in [("keep-errors", "filter"), ("redact-field", "transform")] {
            let out = directory.path().join(name).with_extension("wasm");
            tool.build(&format!("{stage}-plugin"), name, tool.without_wasi(), &out);
        }
        let limits = PluginLimits { file_bytes, ..PluginLimits::default() };
        let begun = Instant::now();
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            policy: PluginPolicy::with_limits(limits),
            program: Some(BINARY.into()),
            ..plugin_cache::settings()
        };
        let runtime = WasmRuntime::start(settings).unwrap();
        println!("loads two plugins in {:?}", begun.elapsed());
        Self { runtime, directory }
    }

    fn used(name: &str, config: Value) -> PluginUse {
        serde_json::from_value(json!({ "name": name, "config": config })).unwrap()
    }

    async fn run(&self, chain: &[PluginUse], payload: Bytes) -> Value {
        match self.runtime.run(chain, payload).await {
            ChainOutcome::Send(body) => serde_json::from_slice(&body.bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&self, name: &str, config: Value) -> String {
        self.runtime.check(&Self::used(name, config)).await.unwrap_err().message
    }

    async fn check(&self) {
        for plugin in self.runtime.plugins() {
            assert_eq!(plugin.error, None, "{}", plugin.name);
        }
        let about = self.runtime.plugins().into_iter().find(|plugin| plugin.name == "redact-field").unwrap();
        assert_eq!(about.stages.to_string(), "transform");
        assert_eq!(about.version, "1.0.0");
        assert_eq!(about.config_schema.unwrap()["required"], json!(["pointer"]));

        let chain = [
            Self::used("keep-errors", json!({ "at_most": 2 })),
            Self::used("redact-field", json!({ "pointer": "/inputs/email", "replacement": "\"ä\"" })),
        ];
        let sent = self.run(&chain, payload(9)).await;
        let inputs: Vec<_> = sent["runs"].as_array().unwrap().iter().map(|run| run["inputs"].clone()).collect();
        assert_eq!(inputs, [json!({"email": "\"ä\"", "n": 0}), json!({"email": "\"ä\"", "n": 2})]);

        let words = self.refused("redact-field", json!({ "pointer": 7 })).await;
        assert!(words.starts_with("config field `pointer`: expected str"), "{words}");
        let words = self.refused("redact-field", json!({})).await;
        assert!(words.starts_with("config: ") && words.contains("pointer"), "{words}");
        let words = self.refused("keep-errors", json!({ "at_mots": 2 })).await;
        assert!(words.starts_with("config: ") && words.contains("at_mots"), "{words}");

        for _ in 0..50 {
            let sent = self.run(&[Self::used("keep-errors", json!({ "at_most": 2 }))], payload(9)).await;
            assert_eq!(sent["runs"].as_array().unwrap().len(), 2, "a payload meets what the one before has left");
        }
    }

    /// What a payload costs, and what a run of it. Figures, not assertions.
    async fn measure(&self, name: &str, config: Value) {
        let chain = [Self::used(name, config)];
        let mut took = [Duration::MAX; 2];
        for (runs, took) in [1, 201].into_iter().zip(&mut took) {
            for _ in 0..20 {
                let (payload, begun) = (payload(runs), Instant::now());
                self.run(&chain, payload).await;
                *took = begun.elapsed().min(*took);
            }
        }
        let [one, many] = took;
        println!("{name}: {one:?} for a payload of one run, {:?} for each run more", (many - one) / 200);
    }

    async fn check_and_measure(&self) {
        self.check().await;
        self.measure("keep-errors", json!({ "at_most": 2 })).await;
        self.measure("redact-field", json!({ "pointer": "/inputs/email", "replacement": "\"ä\"" })).await;
        // In Rust, for comparison.
        self.measure("errors-only", json!({})).await;
        self.measure("redact", json!({ "pointers": ["/inputs/email"] })).await;
    }
}

/// What `runhook plugin check` says of a file.
fn check_command(file: &Path, options: &[&str]) -> String {
    let output = Command::new(BINARY).args(["plugin", "check"]).arg(file).args(options).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// That many runs: errors and successes in turn.
fn payload(runs: usize) -> Bytes {
    let run = |n: usize| {
        let status = ["error", "success"][n % 2];
        json!({"id": n.to_string(), "run_type": "llm", "status": status, "inputs": {"email": "ada@example.com", "n": n}})
    };
    json!({ "rule_id": "r", "runs": (0..runs).map(run).collect::<Vec<_>>() }).to_string().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_in_python_filter_and_transform() {
    let Some(program) = componentize_py() else { return };
    let scene = Scene::of(&Tool::ComponentizePy(program), 20 * MIB);
    scene.check_and_measure().await;
    // By the command line, where the cap is the usual one.
    let checked = check_command(&scene.directory.path().join("keep-errors.wasm"), &[]);
    assert!(checked.contains("`file_mib = "), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_in_javascript_filter_and_transform() {
    let Some(program) = componentize_js() else { return };
    Scene::of(&Tool::ComponentizeJs(program), PluginLimits::default().file_bytes).check_and_measure().await;
}

#[test]
fn a_plugin_that_wants_wasi_is_told_which_options_leave_it_out() {
    let tools = [componentize_py().map(Tool::ComponentizePy), componentize_js().map(Tool::ComponentizeJs)];
    for tool in tools.into_iter().flatten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("plugin.wasm");
        tool.build("filter-plugin", "keep-errors", &[], &file);
        let policy = directory.path().join("plugins.toml");
        std::fs::write(&policy, "[limits]\nfile_mib = 20").unwrap();
        let words = check_command(&file, &["--plugin-policy", policy.to_str().unwrap()]);
        assert!(words.contains("wasi:filesystem/") && words.contains(&tool.without_wasi().join(" ")), "{words}");
    }
}

#[test]
fn the_documentation_shows_plugins_that_work() {
    let page = include_str!("../../docs/plugins-other-languages.md");
    for source in
        [include_str!("../languages/python/redact_field.py"), include_str!("../languages/javascript/redact-field.js")]
    {
        assert!(page.contains(source), "the page does not show\n{source}");
    }
}
