//! From a file's bytes to a component that can be called: what can never work here is refused with the reason, from the
//! bytes and the component's type, before one instruction of it runs.

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::model::plugin::Stages;
use crate::plugin::policy::{Grant, Grants};
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::linker::{GRANTED, LINKED};
use crate::plugin::snapshots::machine_code::SharedCode;

/// Why bytes are no plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum Refusal {
    #[error("it has {mib} MiB and may have {mib_max}; the plugin policy can allow it more, `file_mib = {mib}`")]
    TooLarge { mib: u64, mib_max: u64 },
    #[error("it is no WebAssembly; build it with --target wasm32-wasip2 and copy the .wasm file")]
    NotWasm,
    #[error("it is a core module, not a component; build it with --target wasm32-wasip2")]
    CoreModule,
    #[error("it is damaged or incomplete, or uses what this host does not allow: {0}")]
    Damaged(String),
    #[error(
        "it imports {0}, which no plugin is granted; plugins have no files, network or environment. \
         Build Python with `--stub-wasi`, JavaScript with `--disable stdio random clocks http fetch-event`, \
         Rust without the crate that asks for it"
    )]
    Ungranted(String),
    #[error(
        "it imports {imports}, which it is not granted; the plugin policy can grant it, `grants = [{grants}]`, \
         or leave out what asks for it"
    )]
    WantsGrant { imports: String, grants: String },
    #[error("it imports what this host does not know in that version or shape: {0}")]
    Unlinkable(String),
    #[error("it does not export `runhook:plugin/lifecycle`; use runhook-sdk (`runhook plugin new`)")]
    NoLifecycle,
    #[error("it exports no stage; use #[filter], #[transform] or #[render]")]
    NoStage,
}

impl Refusal {
    /// For a file that is longer than it may be.
    pub(in crate::plugin) fn too_large(bytes: u64, bytes_max: u64) -> Self {
        let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
        Self::TooLarge { mib: mib(bytes), mib_max: mib(bytes_max) }
    }
}

/// A compiled component with the places of its exports.
pub(in crate::plugin) struct Callable {
    pub(in crate::plugin) pre: InstancePre<Sandbox>,
    pub(in crate::plugin) exports: Exports,
    pub(in crate::plugin) imports: Vec<String>,
    pub(in crate::plugin) grants: Grants,
    /// Names of what it exports.
    pub(in crate::plugin) exported: Vec<String>,
    pub(in crate::plugin) hash: String,
    /// What a process of its own loads; none where it runs in this process.
    pub(in crate::plugin) apart: Option<Arc<SharedCode>>,
}

/// The same before it is known whose it is and where it runs.
pub(in crate::plugin) struct Linked {
    pre: InstancePre<Sandbox>,
    exports: Exports,
    imports: Vec<String>,
    exported: Vec<String>,
    grants: Grants,
}

impl Callable {
    /// One that runs in this process. `hash` is that of the file that it came from.
    pub(in crate::plugin) fn here(linked: Linked, hash: String) -> Self {
        let Linked { pre, exports, imports, exported, grants } = linked;
        Self { pre, exports, imports, exported, grants, hash, apart: None }
    }

    /// One that runs in processes of its own.
    pub(in crate::plugin) fn apart(linked: Linked, hash: String, code: SharedCode) -> Self {
        Self { apart: Some(code.into()), ..Self::here(linked, hash) }
    }
}

/// Where the contract's functions are.
pub(in crate::plugin) struct Exports {
    pub(in crate::plugin) describe: ComponentExportIndex,
    pub(in crate::plugin) configure: ComponentExportIndex,
    pub(in crate::plugin) keep: Option<ComponentExportIndex>,
    pub(in crate::plugin) apply: Option<ComponentExportIndex>,
    pub(in crate::plugin) render: Option<ComponentExportIndex>,
}

impl Exports {
    pub(in crate::plugin) fn stages(&self) -> Stages {
        Stages { filter: self.keep.is_some(), transform: self.apply.is_some(), render: self.render.is_some() }
    }
}

impl Callable {
    /// What has to be granted for its imports.
    pub(in crate::plugin) fn needed_grants(&self) -> Grants {
        self.imports.iter().filter_map(|name| grant(name)).collect()
    }

    /// The version of the contract that it was built against, `1.0.0`.
    pub(in crate::plugin) fn contract_version(&self) -> Option<&str> {
        self.exported.iter().find_map(|name| name.strip_prefix("runhook:plugin/lifecycle@"))
    }
}

/// Compiles and links, to run in this process.
pub(in crate::plugin) fn load(
    engine: &Engine,
    linker: &Linker<Sandbox>,
    bytes: &[u8],
    grants: Grants,
) -> Result<Callable, Refusal> {
    let component = Component::new(engine, bytes).map_err(|error| Refusal::Damaged(one_line(&error)))?;
    Ok(Callable::here(link(engine, linker, &component, grants)?, hash(bytes)))
}

/// Hex, of the file's bytes.
pub(in crate::plugin) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Checks a compiled component's type and links it.
pub(in crate::plugin) fn link(
    engine: &Engine,
    linker: &Linker<Sandbox>,
    component: &Component,
    grants: Grants,
) -> Result<Linked, Refusal> {
    let imports = imports(engine, component, grants)?;
    let exports = exports(component)?;
    let exported = component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect();
    let pre = linker.instantiate_pre(component).map_err(|error| Refusal::Unlinkable(one_line(&error)))?;
    Ok(Linked { pre, exports, imports, exported, grants })
}

/// The first eight bytes tell text, core modules and components apart.
pub(in crate::plugin) fn check_preamble(bytes: &[u8]) -> Result<(), Refusal> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(Refusal::CoreModule),
        [0, b'a', b's', b'm', ..] => Err(Refusal::Damaged("it ends within its first bytes".to_owned())),
        _ => Err(Refusal::NotWasm),
    }
}

/// Names of the interfaces that it needs; an error where one is not linked, or not granted.
fn imports(engine: &Engine, component: &Component, grants: Grants) -> Result<Vec<String>, Refusal> {
    let component = component.component_type();
    let all: Vec<String> = component.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let is_linked = |name: &&String| LINKED.iter().any(|prefix| name.starts_with(prefix));
    let (grantable, ungranted): (Vec<_>, Vec<_>) =
        all.iter().filter(|name| !is_linked(name)).cloned().partition(|name| grant(name).is_some());
    if !ungranted.is_empty() {
        return Err(Refusal::Ungranted(ungranted.join(", ")));
    }
    let missing: Vec<_> = grantable.into_iter().filter(|name| grant(name).is_some_and(|it| !grants.has(it))).collect();
    if missing.is_empty() {
        return Ok(all);
    }
    let mut names: Vec<_> = missing.iter().filter_map(|name| Some(format!("\"{}\"", grant(name)?))).collect();
    names.dedup();
    Err(Refusal::WantsGrant { imports: missing.join(", "), grants: names.join(", ") })
}

/// What has to be granted for an interface.
fn grant(interface: &str) -> Option<Grant> {
    GRANTED.iter().find(|(prefix, _)| interface.starts_with(prefix)).map(|(_, grant)| *grant)
}

fn exports(component: &Component) -> Result<Exports, Refusal> {
    let function = |interface: &str, name: &str| {
        let interface = component.get_export_index(None, format!("runhook:plugin/{interface}@1.0.0"))?;
        component.get_export_index(Some(&interface), name)
    };
    let exports = Exports {
        describe: function("lifecycle", "describe").ok_or(Refusal::NoLifecycle)?,
        configure: function("lifecycle", "configure").ok_or(Refusal::NoLifecycle)?,
        keep: function("filter", "keep"),
        apply: function("transform", "apply"),
        render: function("render", "render"),
    };
    if exports.stages() == Stages::default() { Err(Refusal::NoStage) } else { Ok(exports) }
}

/// An error and its causes in one line.
pub(in crate::plugin) fn one_line(error: &wasmtime::Error) -> String {
    let causes: Vec<_> = error.chain().map(|cause| cause.to_string().replace('\n', " ")).collect();
    causes.join(": ")
}
