//! What is done apart from the host: a plugin is configured and its snapshot taken, or a component is compiled. The same
//! work can be done in this process; in production a child does it, since a guest runs or a stranger's code is compiled.

use std::io::{stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::limits::{MACHINE_CODE_BYTES_MAX, PLUGIN_CHILD_DATA_BYTES_MAX};
use crate::model::plugin::{PluginFailure, PluginName};
use crate::plugin::limits::PluginLimits;
use crate::plugin::policy::Grants;
use crate::plugin::processes::server::serve;
use crate::plugin::registry::{binary, component};
use crate::plugin::sandbox::engine::compiler;
use crate::plugin::snapshots::machine_code::MachineCode;
use crate::plugin::snapshots::snapshot::Studio;
use crate::plugin::workshop::confine::{Use, confine, let_go};
use crate::plugin::workshop::message;

/// The first argument of a process that is such a child; the second says which of the two errands it runs, or that it
/// serves a plugin.
pub const CHILD: &str = "plugin-child";

/// What is to be done with a component.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) enum Errand {
    /// Configure it, and give back the snapshot, a component.
    Snapshot(Configuration),
    /// Compile it, and give back the machine code.
    Compile,
}

/// Who is configured with what, and what it may use.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Configuration {
    pub(in crate::plugin) plugin: PluginName,
    pub(in crate::plugin) config: String,
    pub(in crate::plugin) limits: PluginLimits,
    pub(in crate::plugin) grants: Grants,
}

/// What came of it: the bytes asked for, or why there are none.
pub(in crate::plugin) type Product = Result<Vec<u8>, Unmade>;

/// Why nothing was made.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
pub(in crate::plugin) enum Unmade {
    /// The plugin refuses the configuration, or fails over it.
    #[error("{0}")]
    Failed(PluginFailure),
    /// No snapshot can be made of it. Whether it takes the configuration may be open.
    #[error("{0}")]
    Unfit(String),
    /// It is no component that can be compiled here.
    #[error("{0}")]
    Uncompilable(String),
    /// The child was lost on the way, twice.
    #[error("{0}")]
    Lost(String),
    /// No child can be had here, or none that is confined.
    #[error("{0}")]
    Unavailable(String),
}

impl Errand {
    /// The second argument of the child.
    pub(in crate::plugin) fn name(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Compile => "compile",
        }
    }

    /// Bytes of the product at most.
    pub(in crate::plugin) fn bytes_max(&self) -> u64 {
        match self {
            Self::Snapshot(configuration) => configuration.limits.snapshot_bytes(),
            Self::Compile => MACHINE_CODE_BYTES_MAX,
        }
    }
}

/// All that a child process does: confines itself, reads its errand, runs it, answers.
pub fn run_child(errand: Option<&str>) -> ExitCode {
    let free = let_go();
    let answered = match errand {
        Some("snapshot") => take_snapshot(free),
        Some("compile") => compile_for_parent(free),
        Some("serve") => serve(free),
        _ => return ExitCode::FAILURE,
    };
    // To whom should it be said: the parent sees that there is no answer.
    if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything that needs more than the confinement leaves is made before it: the engine, the ticker's thread, and the
/// runtime in which a guest's output is written.
fn take_snapshot(free: Result<(), String>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let _entered = runtime.enter();
    let studio = free.and_then(|()| Studio::start().map_err(|error| error.to_string()));
    let ready = studio.and_then(|studio| confine(Use::Guest).map(|()| studio));
    answer(|errand, component| match (errand, ready) {
        (_, Err(error)) => Err(Unmade::Unavailable(error)),
        (Errand::Snapshot(configuration), Ok(studio)) => studio.snapshot(&component, &configuration),
        (Errand::Compile, _) => Err(wrong_errand()),
    })
}

fn compile_for_parent(free: Result<(), String>) -> std::io::Result<()> {
    let engine = free.and_then(|()| compiler().map_err(|error| error.to_string()));
    let ready = engine.and_then(|engine| confine(Use::Compiler).map(|()| engine));
    answer(|errand, component| match (errand, ready) {
        (_, Err(error)) => Err(Unmade::Unavailable(error)),
        (Errand::Compile, Ok(engine)) => compile(&engine, &component).map(MachineCode::into_bytes),
        (Errand::Snapshot(_), _) => Err(wrong_errand()),
    })
}

fn wrong_errand() -> Unmade {
    Unmade::Unavailable("the child was started for another errand".to_owned())
}

/// Compiles, in this process.
pub(in crate::plugin) fn compile(engine: &wasmtime::Engine, component: &[u8]) -> Result<MachineCode, Unmade> {
    binary::check(component).map_err(Unmade::Uncompilable)?;
    MachineCode::compile(engine, component).map_err(|error| Unmade::Uncompilable(component::one_line(&error)))
}

fn answer(work: impl FnOnce(Errand, Vec<u8>) -> Product) -> std::io::Result<()> {
    let (errand, component) = message::read(&mut stdin().lock(), message::HEAD_BYTES_MAX, PLUGIN_CHILD_DATA_BYTES_MAX)?;
    let product = catch_unwind(AssertUnwindSafe(|| work(errand, component)));
    // What panics is the tool: it gives up where it meets what it was not made for.
    let product = product.unwrap_or_else(|_| Err(Unmade::Unfit("the snapshot tool cannot handle it".to_owned())));
    let (said, body) = match product {
        Ok(bytes) => (Ok(()), bytes),
        Err(unmade) => (Err(unmade), Vec::new()),
    };
    message::write(&mut stdout().lock(), &said, &body)
}
