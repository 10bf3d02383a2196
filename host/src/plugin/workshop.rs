//! Where errands are run: each in a child process of its own, a few at a time, ended when it takes too long.
//!
//! What a child says is checked like what a guest says. Without a program to start, the work is done in this process.

pub(super) mod confine;
pub(super) mod errand;
pub(super) mod message;
pub(super) mod spawn;

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tracing::warn;
use wasmtime::Engine;

use crate::limits::{PLUGIN_CHILD_CPU_SECONDS_MAX, PLUGIN_CHILD_TIMEOUT, PLUGIN_CHILDREN_MAX};
use crate::model::plugin::PluginFailure;
use crate::plugin::sandbox::call::capped;
use crate::plugin::sandbox::output_ring::printable;
use crate::plugin::snapshots::machine_code::MachineCode;
use crate::plugin::snapshots::snapshot::Studio;
use crate::plugin::workshop::errand::{CHILD, Configuration, Errand, Product, Unmade, compile};
use crate::plugin::workshop::spawn::spawn;

pub(super) struct Workshop {
    /// This host's own binary; none where the work is done in this process.
    program: Option<PathBuf>,
    turns: Mutex<usize>,
    turn_is_free: Condvar,
    /// For work in this process.
    studio: OnceLock<Studio>,
    children: AtomicU64,
}

/// The right to have a child.
struct Turn<'a>(&'a Workshop);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.turns.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.turn_is_free.notify_one();
    }
}

impl Workshop {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Self {
            program,
            turns: Mutex::new(PLUGIN_CHILDREN_MAX),
            turn_is_free: Condvar::new(),
            studio: OnceLock::new(),
            children: AtomicU64::new(0),
        }
    }

    /// Children that were started.
    pub(super) fn children(&self) -> u64 {
        self.children.load(Ordering::Relaxed)
    }

    /// Configures a plugin once. The answer is a component, with the memory as it is then. Blocks.
    ///
    /// # Errors
    /// See [`Unmade`].
    pub(super) fn snapshot(&self, component: &[u8], configuration: Configuration) -> Product {
        let Some(program) = &self.program else { return self.studio()?.snapshot(component, &configuration) };
        let plugin = configuration.plugin.clone();
        self.have_done(program, &Errand::Snapshot(configuration), component).map_err(|unmade| match unmade {
            Unmade::Failed(failure) => Unmade::Failed(PluginFailure { plugin, ..failure }),
            other => other,
        })
    }

    /// Compiles a component for the engine. Blocks.
    ///
    /// # Errors
    /// See [`Unmade`].
    pub(super) fn compile(&self, engine: &Engine, component: &[u8]) -> Result<MachineCode, Unmade> {
        let Some(program) = &self.program else { return compile(engine, component) };
        match self.have_done(program, &Errand::Compile, component) {
            Ok(bytes) => Ok(MachineCode::of_compiler(bytes)),
            Err(Unmade::Unavailable(reason)) => {
                warn!(reason, "no confined child can be had: compiling a plugin in the host's own process");
                compile(engine, component)
            }
            Err(other) => Err(other),
        }
    }

    fn studio(&self) -> Result<&Studio, Unmade> {
        if self.studio.get().is_none() {
            let started = Studio::start().map_err(|error| Unmade::Unavailable(error.to_string()))?;
            let _ = self.studio.set(started);
        }
        self.studio.get().ok_or_else(|| Unmade::Unavailable("there is no studio".to_owned()))
    }

    /// A child that is lost may have been ended by somebody else: a second one is tried.
    fn have_done(&self, program: &Path, errand: &Errand, component: &[u8]) -> Product {
        let _turn = self.turn();
        let run = || {
            self.children.fetch_add(1, Ordering::Relaxed);
            run_child(program, errand, component)
        };
        match run() {
            Err(Unmade::Lost(reason)) => {
                warn!(errand = errand.name(), reason, "lost a child of the plugin runtime; trying once more");
                run()
            }
            other => other,
        }
    }

    fn turn(&self) -> Turn<'_> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.turn_is_free.wait_while(turns, |turns| *turns == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Turn(self)
    }
}

/// Starts the child, hands it the errand, awaits its answer, and leaves nothing of it behind.
fn run_child(program: &Path, errand: &Errand, component: &[u8]) -> Product {
    let mut command = Command::new(program);
    command.args([CHILD, errand.name()]).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let spawned = spawn(&mut command);
    let mut child = spawned.map_err(|error| Unmade::Unavailable(format!("cannot start a child: {error}")))?;
    let answer = converse(&mut child, errand, component, PLUGIN_CHILD_TIMEOUT);
    // It is at its end, or has to be; whoever is not waited for stays as a zombie.
    let _ = child.kill();
    let status = child.wait();
    let signal = status.ok().and_then(|status| status.signal());
    match answer {
        Some(product) => product.map_err(checked),
        None if signal == Some(Signal::XCPU.as_raw()) => {
            let words =
                format!("it used up the {PLUGIN_CHILD_CPU_SECONDS_MAX} s of CPU time that a plugin has to be compiled");
            Err(if matches!(errand, Errand::Compile) { Unmade::Uncompilable(words) } else { Unmade::Unfit(words) })
        }
        None => Err(Unmade::Lost(format!("it ended without an answer (signal {signal:?})"))),
    }
}

/// Writes and reads on threads of their own, since a child may do neither; none when it ends or the time does.
fn converse(child: &mut Child, errand: &Errand, component: &[u8], timeout: Duration) -> Option<Product> {
    let (mut input, mut output) = (child.stdin.take()?, child.stdout.take()?);
    thread::scope(|scope| {
        let (answered, answer) = mpsc::channel();
        scope.spawn(move || {
            let _ = message::write(&mut input, errand, component);
        });
        scope.spawn(move || {
            let _ = answered.send(read_answer(&mut output, errand.bytes_max()));
        });
        let answer = answer.recv_timeout(timeout).ok().flatten();
        // Whoever still writes or reads is let go by the child's end.
        let _ = child.kill();
        answer
    })
}

fn read_answer(output: &mut impl Read, bytes_max: u64) -> Option<Product> {
    let (said, body) = message::read::<Result<(), Unmade>>(output, message::WORDS_BYTES_MAX, bytes_max).ok()?;
    Some(said.map(|()| body))
}

/// A child's words are a guest's, or worse: bounded, and without control characters.
fn checked(unmade: Unmade) -> Unmade {
    let clean = |words: &str| printable(capped(words));
    match unmade {
        Unmade::Failed(failure) => {
            let export = if failure.export == "instantiate" { "instantiate" } else { "configure" };
            let message = clean(&failure.message);
            Unmade::Failed(PluginFailure { export: export.to_owned(), message, ..failure })
        }
        Unmade::Unfit(words) => Unmade::Unfit(clean(&words)),
        Unmade::Uncompilable(words) => Unmade::Uncompilable(clean(&words)),
        Unmade::Lost(words) => Unmade::Lost(clean(&words)),
        Unmade::Unavailable(words) => Unmade::Unavailable(clean(&words)),
    }
}
