//! A plugin runtime with a directory of test plugins, as a host has it.

use std::fs;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use runhook::clock::{Clock, after};
use runhook::limits::QUARANTINE_WINDOW;
use runhook::model::Timestamp;
use runhook::model::plugin::{OnError, PluginFailure, PluginUse};
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, WasmRuntime};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host_process::BINARY;
use crate::support::plugin_cache;

/// Longer than any guest may run on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// One that is later by a window of quarantine whenever it is asked, so that no two failures count together and every
/// payload meets its plugin.
#[derive(Default)]
struct LeapingClock(AtomicU32);

impl Clock for LeapingClock {
    fn now(&self) -> Timestamp {
        let windows = self.0.fetch_add(1, Ordering::Relaxed);
        after(Timestamp::UNIX_EPOCH, QUARANTINE_WINDOW * windows)
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }

    fn random(&self) -> f64 {
        0.5
    }
}

/// A runtime with plugins in its directory. What is asked is asked of the first.
pub(crate) struct Scene {
    pub(crate) runtime: WasmRuntime,
    pub(crate) name: String,
    pub(crate) directory: TempDir,
}

impl Scene {
    pub(crate) fn of(component: &str) -> Self {
        Self::with(component, PluginLimits::default())
    }

    pub(crate) fn with(component: &str, limits: PluginLimits) -> Self {
        Self::under(component, PluginPolicy::with_limits(limits))
    }

    pub(crate) fn under(component: &str, policy: PluginPolicy) -> Self {
        let file = Path::new(component).file_name().unwrap().to_str().unwrap();
        Self::holding(&[(file, &fs::read(component).unwrap())], policy)
    }

    /// With these files: name and content.
    pub(crate) fn holding(files: &[(&str, &[u8])], policy: PluginPolicy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (file, content) in files {
            fs::write(directory.path().join(file), content).unwrap();
        }
        Self::in_directory(directory, files[0].0, policy)
    }

    /// With what is in the directory; what is asked is asked of that file.
    pub(crate) fn in_directory(directory: TempDir, file: &str, policy: PluginPolicy) -> Self {
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            policy,
            program: Some(BINARY.into()),
            clock: Arc::new(LeapingClock::default()),
            ..plugin_cache::settings()
        };
        let name = file.strip_suffix(".wasm").unwrap().replace('_', "-");
        Self { runtime: WasmRuntime::start(settings).unwrap(), name, directory }
    }

    pub(crate) fn used(&self, config: Value, on_error: OnError) -> PluginUse {
        used(&self.name, config, on_error)
    }

    pub(crate) async fn run(&self, config: Value, on_error: OnError) -> ChainOutcome {
        let begun = Instant::now();
        let outcome = self.runtime.run(&[self.used(config, on_error)], payload()).await;
        assert!(begun.elapsed() < BOUND, "{} took {:?}", self.name, begun.elapsed());
        outcome
    }

    pub(crate) async fn held(&self) -> PluginFailure {
        match self.run(json!({}), OnError::Hold).await {
            ChainOutcome::Held(failure) => failure,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    pub(crate) async fn sent(&self, config: Value) -> Value {
        serde_json::from_slice(&self.sent_bytes(config).await).unwrap()
    }

    pub(crate) async fn sent_bytes(&self, config: Value) -> Bytes {
        match self.run(config, OnError::Hold).await {
            ChainOutcome::Send(body) => body.bytes,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// Whether a good plugin on the same threads does its work.
    pub(crate) async fn serves_on(&self) -> bool {
        let begun = Instant::now();
        let ChainOutcome::Send(body) = self.runtime.run(&[good()], payload()).await else { return false };
        let sent: Value = serde_json::from_slice(&body.bytes).unwrap();
        sent["runs"].as_array().unwrap().len() == 1 && begun.elapsed() < BOUND
    }
}

pub(crate) fn used(name: &str, config: Value, on_error: OnError) -> PluginUse {
    PluginUse { name: name.parse().unwrap(), config, on_error }
}

/// A built-in plugin that keeps the first of the payload's two runs.
pub(crate) fn good() -> PluginUse {
    serde_json::from_value(json!({"name": "errors-only"})).unwrap()
}

pub(crate) fn payload() -> Bytes {
    let runs = json!([
        {"id": "1", "name": "a", "status": "error", "total_tokens": 2, "inputs": {"q": "x"}},
        {"id": "2", "name": "b", "status": "success", "total_tokens": 3, "inputs": {"q": "y"}},
    ]);
    json!({"rule_id": "r", "runs": runs}).to_string().into()
}
