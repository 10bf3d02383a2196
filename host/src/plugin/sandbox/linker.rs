//! What a guest may import, and nothing else: the contract's interfaces, `wasi:cli` and `wasi:io`, a fixed seed for hash
//! maps, and by grant clocks and randomness. Files and sockets never.

use wasmtime::Engine;
use wasmtime::component::{HasData, HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::{cli, clocks, random, sync};
use wasmtime_wasi::{ResourceTable, WasiView};

use crate::plugin::policy::Grant;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::bindings::{document, log, output};

/// Interfaces that a component may import, as prefixes of their names.
pub(in crate::plugin) const LINKED: &[&str] = &[
    "runhook:plugin/document@1.",
    "runhook:plugin/log@1.",
    "runhook:plugin/output@1.",
    "wasi:cli/environment@0.2.",
    "wasi:cli/exit@0.2.",
    "wasi:cli/stderr@0.2.",
    "wasi:cli/stdin@0.2.",
    "wasi:cli/stdout@0.2.",
    "wasi:cli/terminal-input@0.2.",
    "wasi:cli/terminal-output@0.2.",
    "wasi:cli/terminal-stderr@0.2.",
    "wasi:cli/terminal-stdin@0.2.",
    "wasi:cli/terminal-stdout@0.2.",
    "wasi:io/error@0.2.",
    "wasi:io/poll@0.2.",
    "wasi:io/streams@0.2.",
    "wasi:random/insecure-seed@0.2.",
];

/// The same for interfaces that have to be granted. They are linked for all: who imports them without is not loaded.
pub(in crate::plugin) const GRANTED: &[(&str, Grant)] = &[
    ("wasi:clocks/monotonic-clock@0.2.", Grant::Clock),
    ("wasi:clocks/wall-clock@0.2.", Grant::Clock),
    ("wasi:random/insecure@0.2.", Grant::Random),
    ("wasi:random/random@0.2.", Grant::Random),
];

/// Every std Rust guest with a `HashMap` asks for this; it is the same for all, so that guests are deterministic.
const HASH_SEED: (u64, u64) = (0x7275_6e68_6f6f_6b00, 0x7365_6564_0000_0001);

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

pub(in crate::plugin) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    document::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    log::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    output::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    cli::environment::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::exit::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stdin::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stdout::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stderr::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_input::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_output::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdin::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdout::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stderr::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<Sandbox, HasTable>(l, |sandbox| sandbox.ctx().table)?;
    sync::io::poll::add_to_linker::<Sandbox, HasTable>(l, |sandbox| sandbox.ctx().table)?;
    sync::io::streams::add_to_linker::<Sandbox, HasTable>(l, |sandbox| sandbox.ctx().table)?;
    l.instance("wasi:random/insecure-seed@0.2.0")?.func_wrap("insecure-seed", |_, ()| Ok((HASH_SEED,)))?;
    clocks::wall_clock::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    clocks::monotonic_clock::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    random::random::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    random::insecure::add_to_linker::<Sandbox, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    Ok(linker)
}
