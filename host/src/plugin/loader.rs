//! Makes plugins out of bytes: compiles them and asks them what they say of themselves.

use serde::Deserialize;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::model::plugin::PluginName;
use crate::plugin::call::{Called, describe};
use crate::plugin::component;
use crate::plugin::engine::{Running, Ticker, engine};
use crate::plugin::limits::PluginLimits;
use crate::plugin::linker::linker;
use crate::plugin::pool::on_own_thread;
use crate::plugin::registry::Active;
use crate::plugin::sandbox::Sandbox;

/// Bytes of what a plugin says of itself: it is kept and listed, and a schema of this size nobody reads.
const ABOUT_BYTES_MAX: usize = 256 * 1024;

/// What a plugin says of itself, as the contract's `describe` answers it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) config_schema: Option<serde_json::Value>,
}

/// The engine with what is linked to guests. Cheap to call from any thread.
pub(super) struct Loader {
    engine: Engine,
    linker: Linker<Sandbox>,
    ticker: Ticker,
    pub(super) limits: PluginLimits,
}

impl Loader {
    pub(super) fn new(limits: PluginLimits) -> anyhow::Result<Self> {
        let engine = engine(&limits).map_err(cannot_start)?;
        let linker = linker(&engine).map_err(cannot_start)?;
        let ticker = Ticker::start(&engine)?;
        Ok(Self { engine, linker, ticker, limits })
    }

    /// Has to be held while a guest runs, or it cannot be interrupted.
    pub(super) fn running(&self) -> Running {
        self.ticker.running()
    }

    /// Compiles and describes; in words why not.
    pub(super) fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Active, String> {
        let max = self.limits.file_bytes;
        if bytes.len() as u64 > max {
            return Err(component::Refusal::TooLarge { bytes: bytes.len() as u64, max }.to_string());
        }
        let component = component::load(&self.engine, &self.linker, bytes).map_err(|refusal| refusal.to_string())?;
        let _running = self.running();
        let called = Called { name, component: &component, config: "{}" };
        let json = on_own_thread(|| describe(called, &self.limits)).map_err(|failure| failure.to_string())?;
        let about = std::sync::Arc::new(about(&json)?);
        Ok(Active { name: name.clone(), component: component.into(), about })
    }
}

/// What a plugin's `describe` answered, taken apart.
fn about(json: &str) -> Result<About, String> {
    if json.len() > ABOUT_BYTES_MAX {
        let (kib, max) = (json.len().div_ceil(1024), ABOUT_BYTES_MAX / 1024);
        return Err(format!("its description, schema included, is {kib} KiB long; a plugin may have {max} KiB"));
    }
    serde_json::from_str(json).map_err(|error| format!("its description is no valid JSON: {error}"))
}

fn cannot_start(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("the sandbox cannot start: {error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_bounded() {
        let described = |bytes: usize| about(&format!(r#"{{"description":"{}"}}"#, "x".repeat(bytes)));
        assert_eq!(described(10).unwrap().description.len(), 10);
        assert!(described(ABOUT_BYTES_MAX).unwrap_err().contains("a plugin may have 256 KiB"));
    }
}
