//! One plugin over one payload: a fresh instance, `configure` unless it starts from a snapshot, then each stage that it has.
//!
//! Whatever a guest does ends here, as a result or as a [`PluginFailure`] that names the export and the cause.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, Resource, ResourceTableError,
};
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use crate::document::{Document, FieldLink, RunKey};
use crate::limits::{ERROR_TEXT_BYTES_MAX, PLUGIN_FRAMES_MAX};
use crate::model::payload::Body;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};
use crate::plugin::bounded::at_most;
use crate::plugin::guest_log::LogLine;
use crate::plugin::limits::{LOG_LINES_MAX, PluginLimits};
use crate::plugin::registry::component::Callable;
use crate::plugin::sandbox::bindings::{BodyHandle, PayloadHandle, RunHandle};
use crate::plugin::sandbox::frames::frames;
use crate::plugin::sandbox::linked::{Links, Stop};
use crate::plugin::sandbox::output_ring::printable;
use crate::plugin::sandbox::shape::shapes;
use crate::plugin::sandbox::{LimitHit, Sandbox};

/// What a plugin made of a payload.
pub(in crate::plugin) enum Made {
    /// The payload, to go on with.
    Document(Document),
    /// No run is left.
    NoRuns,
    /// What its render stage wrote.
    Body(Body),
    /// Its render stage had nothing to send.
    Nothing,
    /// Nothing yet: the chain is to be run again with what lies behind these links. Without it, this is the failure.
    Needs(Vec<FieldLink>, PluginFailure),
}

/// What a failure may name as running.
pub(in crate::plugin) const EXPORTS: [&str; 7] =
    ["load", "instantiate", "describe", "configure", "keep", "apply", "render"];

/// One line more says that the others are dropped.
const LOG_LINES_KEPT_MAX: usize = LOG_LINES_MAX + 1;

/// What a call used of its limits, and what it left behind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of the guest's thread.
    pub cpu: Duration,
    /// CPU time that it may use.
    pub cpu_max: Duration,
    /// Time by the clock.
    pub wall: Duration,
    /// Time by the clock that it may take.
    pub wall_max: Duration,
    /// Linear memory at its largest, in bytes.
    pub memory_bytes: usize,
    /// Elements of all tables.
    pub table_elements: usize,
    /// Calls into the host.
    pub host_calls: u64,
    /// Bytes handed to the guest.
    pub bytes_out: u64,
    /// Bytes taken from the guest.
    pub bytes_in: u64,
    /// Handles to runs at their most.
    pub handles: usize,
    /// Log lines, the ones that are not kept included.
    pub log_lines: u64,
    /// The end of what it printed.
    pub output: String,
    /// What it logged.
    #[serde(deserialize_with = "at_most::<LOG_LINES_KEPT_MAX, _, _>")]
    pub log: Vec<LogLine>,
    /// Where it was stopped, the innermost call first: its own functions, with file and line where it carries them.
    #[serde(deserialize_with = "at_most::<PLUGIN_FRAMES_MAX, _, _>")]
    pub frames: Vec<String>,
}

/// A plugin's name, its component, and the configuration for it: none where the component is a snapshot, which has been
/// configured.
#[derive(Clone, Copy)]
pub(in crate::plugin) struct Called<'a> {
    pub(in crate::plugin) name: &'a PluginName,
    pub(in crate::plugin) component: &'a Callable,
    pub(in crate::plugin) config: Option<&'a str>,
}

/// Passes a payload through a plugin.
pub(in crate::plugin) fn process(
    plugin: Called<'_>,
    document: Document,
    links: &Arc<Links>,
    limits: &PluginLimits,
) -> (Result<Made, PluginFailure>, Usage) {
    let mut call = Call::new(plugin, document, links.clone(), limits);
    let result = call.process();
    if let Err(Trouble::Stopped(error)) = &result {
        call.frames = frames(error);
    }
    let result = result.map_err(|trouble| call.failure(trouble));
    let mut usage = call.usage();
    let sandbox = call.store.into_data();
    usage.log = sandbox.log;
    let made = match (result, sandbox.stop) {
        (Ok(End::Document), _) => Ok(Made::Document(sandbox.document)),
        (Ok(End::NoRuns), _) => Ok(Made::NoRuns),
        (Ok(End::Body), _) => Ok(Made::Body(Body { bytes: sandbox.written.into(), ..sandbox.body })),
        (Ok(End::Nothing), _) => Ok(Made::Nothing),
        (Err(failure), Some(Stop::Needs(links, _))) => Ok(Made::Needs(links, failure)),
        (Err(failure), _) => Err(failure),
    };
    (made, usage)
}

/// An instance that has been configured.
pub(in crate::plugin) fn configured(
    plugin: Called<'_>,
    limits: &PluginLimits,
) -> Result<(Store<Sandbox>, Instance), PluginFailure> {
    let mut call = Call::bare(plugin, limits);
    match call.start().and_then(|instance| call.configure(&instance).map(|()| instance)) {
        Ok(instance) => Ok((call.store, instance)),
        Err(trouble) => Err(call.failure(trouble)),
    }
}

/// Asks a plugin what it says of itself, JSON, and looks whether its exports have the contract's shape.
pub(in crate::plugin) fn describe(plugin: Called<'_>, limits: &PluginLimits) -> Result<String, PluginFailure> {
    let mut call = Call::bare(plugin, limits);
    let described = call.start().and_then(|instance| {
        call.export = "describe";
        let (json,) = call.invoke::<(), (String,)>(&instance, &plugin.component.exports.describe, ())?;
        for (export, has_shape) in shapes(&mut call.store, &instance, &plugin.component.exports) {
            call.export = export;
            has_shape?;
        }
        Ok(json)
    });
    described.map_err(|trouble| call.failure(trouble))
}

/// What `configure` and `describe` could look at: nothing.
fn no_payload() -> Document {
    Document::parse(Bytes::from_static(br#"{"runs":[]}"#)).expect("it has an array of runs")
}

/// What became of the stages.
enum End {
    Document,
    NoRuns,
    Body,
    Nothing,
}

/// Why a call did not come to its end.
enum Trouble {
    Refused(String),
    Stopped(wasmtime::Error),
}

impl From<wasmtime::Error> for Trouble {
    fn from(error: wasmtime::Error) -> Self {
        Self::Stopped(error)
    }
}

struct Call<'a> {
    plugin: Called<'a>,
    store: Store<Sandbox>,
    /// What is running, for the failure.
    export: &'static str,
    /// Where it was stopped.
    frames: Vec<String>,
}

impl<'a> Call<'a> {
    /// One without a payload.
    fn bare(plugin: Called<'a>, limits: &PluginLimits) -> Self {
        let document = no_payload();
        let links = Arc::new(Links::of(&document, Arc::default()));
        Self::new(plugin, document, links, limits)
    }

    /// Nothing of the guest runs yet, and its time has begun: a start function is on the clock too.
    fn new(plugin: Called<'a>, document: Document, links: Arc<Links>, limits: &PluginLimits) -> Self {
        let sandbox = Sandbox::new(plugin.name.clone(), document, links, *limits);
        let mut store = Store::new(plugin.component.pre.engine(), sandbox);
        store.limiter(|sandbox| &mut sandbox.usage);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            store.data_mut().check_time()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_hostcall_fuel(limits.memory_bytes);
        store.set_max_component_handles(limits.handles);
        Self { plugin, store, export: "load", frames: Vec::new() }
    }

    fn process(&mut self) -> Result<End, Trouble> {
        let instance = self.start()?;
        self.configure(&instance)?;
        let exports = &self.plugin.component.exports;
        let had_runs = !self.store.data().document.is_empty();
        if let Some(keep) = &exports.keep {
            self.filter(&instance, keep)?;
        }
        let is_left_empty = |call: &Self| had_runs && call.store.data().document.is_empty();
        if is_left_empty(self) {
            return Ok(End::NoRuns);
        }
        if let Some(apply) = &exports.apply {
            self.export = "apply";
            let payload = Resource::<PayloadHandle>::new_borrow(0);
            self.invoke::<_, (Result<(), String>,)>(&instance, apply, (payload,))?.0.map_err(Trouble::Refused)?;
        }
        if is_left_empty(self) {
            return Ok(End::NoRuns);
        }
        let Some(render) = &exports.render else { return Ok(End::Document) };
        self.export = "render";
        let arguments = (Resource::<PayloadHandle>::new_borrow(0), Resource::<BodyHandle>::new_borrow(0));
        let (is_filled,) = self.invoke::<_, (Result<bool, String>,)>(&instance, render, arguments)?;
        Ok(if is_filled.map_err(Trouble::Refused)? { End::Body } else { End::Nothing })
    }

    fn start(&mut self) -> Result<Instance, Trouble> {
        self.export = "instantiate";
        Ok(self.plugin.component.pre.instantiate(&mut self.store)?)
    }

    fn configure(&mut self, instance: &Instance) -> Result<(), Trouble> {
        let Some(config) = self.plugin.config else { return Ok(()) };
        self.export = "configure";
        let configure = &self.plugin.component.exports.configure;
        let (taken,) = self.invoke::<_, (Result<(), String>,)>(instance, configure, (config,))?;
        taken.map_err(Trouble::Refused)
    }

    /// Every run is judged before the first is dropped, so that an error leaves the payload whole.
    fn filter(&mut self, instance: &Instance, keep: &ComponentExportIndex) -> Result<(), Trouble> {
        self.export = "keep";
        let keep = instance.get_typed_func::<(Resource<RunHandle>,), (Result<bool, String>,)>(&mut self.store, keep)?;
        let runs: Vec<RunKey> = self.store.data().document.runs().collect();
        let mut dropped = Vec::new();
        for run in runs {
            let handle = u32::try_from(run.0).map_err(|_| Trouble::Refused("there are too many runs".to_owned()))?;
            let (is_kept,) = keep.call(&mut self.store, (Resource::new_borrow(handle),))?;
            if !is_kept.map_err(Trouble::Refused)? {
                dropped.push(run);
            }
        }
        let document = &mut self.store.data_mut().document;
        for run in dropped {
            document.drop_run(run);
        }
        Ok(())
    }

    fn invoke<Arguments, Answer>(
        &mut self,
        instance: &Instance,
        export: &ComponentExportIndex,
        arguments: Arguments,
    ) -> Result<Answer, Trouble>
    where
        Arguments: ComponentNamedList + Lower,
        Answer: ComponentNamedList + Lift,
    {
        let function = instance.get_typed_func::<Arguments, Answer>(&mut self.store, export)?;
        Ok(function.call(&mut self.store, arguments)?)
    }

    fn usage(&self) -> Usage {
        let sandbox = self.store.data();
        Usage {
            cpu: sandbox.time.cpu_used(),
            cpu_max: sandbox.time.cpu_max(),
            wall: sandbox.time.wall_used(),
            wall_max: sandbox.time.wall_max(),
            memory_bytes: sandbox.usage.memory_bytes,
            table_elements: sandbox.usage.table_elements,
            host_calls: sandbox.usage.host_calls,
            bytes_out: sandbox.usage.bytes_out,
            bytes_in: sandbox.usage.bytes_in,
            handles: sandbox.usage.handles_max,
            log_lines: sandbox.usage.log_lines,
            output: sandbox.output.text(),
            log: Vec::new(),
            frames: self.frames.clone(),
        }
    }

    fn failure(&self, trouble: Trouble) -> PluginFailure {
        let (kind, message) = match trouble {
            Trouble::Refused(words) => (PluginFailureKind::Refused, printable(capped(&words))),
            Trouble::Stopped(error) => self.stopped(&error),
        };
        PluginFailure {
            plugin: self.plugin.name.clone(),
            export: self.export.to_owned(),
            kind,
            message: capped(&message).to_owned(),
        }
    }

    /// What the host stopped it for comes first: what the guest says then is a consequence of it.
    fn stopped(&self, error: &wasmtime::Error) -> (PluginFailureKind, String) {
        let sandbox = self.store.data();
        if let Some(Stop::Failed(said) | Stop::Needs(_, said)) = &sandbox.stop {
            return (PluginFailureKind::Refused, printable(said));
        }
        if let Some(hit) = &sandbox.usage.hit {
            return (PluginFailureKind::Limit, hit.to_string());
        }
        if is_out_of_handles(error) {
            return (PluginFailureKind::Limit, LimitHit::Handles(sandbox.usage.limits.handles).to_string());
        }
        if let Some(out_of_time) = sandbox.out_of_time {
            return (PluginFailureKind::Deadline, out_of_time.to_string());
        }
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return (PluginFailureKind::Trap, format!("it ended its process with the code {}", exit.0));
        }
        let message = match (panic_message(&sandbox.output.text()), error.downcast_ref::<Trap>()) {
            (Some(panic), _) => panic,
            (None, Some(Trap::MemoryOutOfBounds)) => {
                "it went beyond its memory (out of bounds), as a stack that overflows does".to_owned()
            }
            (None, Some(trap)) => format!("it trapped: {trap}"),
            (None, None) => error.root_cause().to_string(),
        };
        (PluginFailureKind::Trap, message)
    }
}

/// The engine counts what it hands out, and WASI's table its streams; the engine has words for it alone.
fn is_out_of_handles(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.root_cause().to_string().ends_with("store handle limit exceeded")
}

/// `panicked at src/lib.rs:5:9: the message`, from what Rust's panic handler writes to standard error.
fn panic_message(output: &str) -> Option<String> {
    let begin = output.rfind("panicked at ")?;
    let text = &output[begin..];
    let end = text.find("\nnote: ").unwrap_or(text.len());
    Some(text[..end].trim_end().replacen(":\n", ": ", 1))
}

/// The beginning of a text, as much as is kept of an error.
pub(in crate::plugin) fn capped(text: &str) -> &str {
    &text[..text.floor_char_boundary(ERROR_TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_shown_with_file_and_line() {
        let output = "debug\n\nthread '<unnamed>' (1) panicked at src/lib.rs:5:9:\nno field `x`\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(panic_message(output).unwrap(), "panicked at src/lib.rs:5:9: no field `x`");
        assert_eq!(panic_message("all is well"), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert!(capped(&"ä".repeat(ERROR_TEXT_BYTES_MAX)).len() <= ERROR_TEXT_BYTES_MAX);
    }
}
