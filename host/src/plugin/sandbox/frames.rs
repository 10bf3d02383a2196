//! Where a guest was stopped, as its author knows it: his own functions, without what the compiler, the standard library
//! and the SDK put around them.

use std::sync::OnceLock;

use wasmtime::{Config, Engine, FrameInfo, Store, WasmBacktrace};

use crate::limits::PLUGIN_FRAMES_MAX;
use crate::plugin::sandbox::output_ring::one_line;

/// Characters of a frame: a generic function's name can be very long.
const FRAME_CHARS_MAX: usize = 300;

/// Paths of crates that are not the author's.
const FOREIGN_CRATES: &[&str] =
    &["std", "core", "alloc", "compiler_builtins", "dlmalloc", "hashbrown", "wit_bindgen", "runhook_sdk"];

/// Beginnings of names that the compiler and the tools make.
const GENERATED: &[&str] = &["__rust", "__rdl", "__rg_", "rust_", "cabi_", "_export_", "export_", "__wasm", "__wasi"];

/// Functions of the C library that a Rust plugin ends in.
const OF_LIBC: &[&str] =
    &["abort", "exit", "_Exit", "malloc", "calloc", "realloc", "free", "memcpy", "memmove", "memset"];

/// What the SDK's macro calls the function by which it calls a stage.
const STAGES: &[&str] = &["keep", "apply", "render"];

/// A function on the guest's stack.
struct Frame {
    name: String,
    /// `src/lib.rs:7`, where the component carries debug info.
    place: Option<String>,
}

/// The innermost first; all there are where none is the author's.
pub(super) fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let all = without_shims(backtrace.frames().iter().flat_map(of_one).collect());
    let has_own = all.iter().any(Frame::is_own);
    let shown = all.iter().filter(|frame| frame.is_own() || !has_own);
    shown.take(PLUGIN_FRAMES_MAX).map(Frame::shown).collect()
}

/// Debug info gives no more than a function's own name: the macro's, which calls the author's, is known by who calls it.
fn without_shims(mut frames: Vec<Frame>) -> Vec<Frame> {
    let is_export = |frame: &Frame| {
        let mut parts = frame.name.rsplit("::").map(|part| part.trim_start_matches('_'));
        is_of_interface(&frame.name) || parts.any(|part| part.starts_with("export_"))
    };
    let export = frames.iter().position(|frame| frame.place.is_some() && is_export(frame));
    let caller = export.and_then(|at| frames[..at].iter().rposition(Frame::is_own));
    let shim = caller.filter(|at| STAGES.contains(&frames[*at].name.as_str()));
    // Where it is the only one, the author's is inlined beyond recognition.
    if let Some(at) = shim.filter(|at| frames[..*at].iter().any(Frame::is_own)) {
        frames.remove(at);
    }
    frames
}

/// The error with an empty backtrace, so that no other is made of it: where the host ends a call on purpose, nobody asks
/// where that was, and to read a component's debug info for it would cost milliseconds.
pub(super) fn without_frames(error: wasmtime::Error) -> wasmtime::Error {
    static NOWHERE: OnceLock<Option<Engine>> = OnceLock::new();
    let nowhere = NOWHERE.get_or_init(|| Engine::new(Config::new().wasm_backtrace_max_frames(None)).ok());
    match nowhere {
        Some(engine) => error.context(WasmBacktrace::capture(Store::new(engine, ()))),
        None => error,
    }
}

/// One for each function that was inlined there, and the function itself.
fn of_one(info: &FrameInfo) -> Vec<Frame> {
    let unnamed = || format!("function {}", info.func_index());
    if info.symbols().is_empty() {
        return vec![Frame { name: info.func_name().map_or_else(unnamed, demangled), place: None }];
    }
    // The last one is the function itself, the others are inlined into it.
    let last = info.symbols().len() - 1;
    let symbols = info.symbols().iter().enumerate();
    symbols
        .map(|(number, symbol)| {
            let name = if number == last { info.func_name().or(symbol.name()) } else { symbol.name() };
            let line = symbol.line().map(|line| format!(":{line}")).unwrap_or_default();
            let place = symbol.file().map(|file| format!("{file}{line}"));
            Frame { name: name.map(demangled).unwrap_or_else(unnamed), place }
        })
        .collect()
}

/// Without the hash at its end.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

impl Frame {
    fn is_own(&self) -> bool {
        let is_foreign_file = self.place.as_deref().is_some_and(|place| {
            place.starts_with("/rustc/") || place.contains("/library/") || place.contains("/runhook-sdk/")
        });
        !is_foreign_file && !is_foreign(&self.name)
    }

    fn shown(&self) -> String {
        let text = match &self.place {
            Some(place) => format!("{} at {place}", self.name),
            None => self.name.clone(),
        };
        one_line(&text).chars().take(FRAME_CHARS_MAX).collect()
    }
}

/// `runhook:plugin/filter@1.0.0#keep`; a closure's name has a `#` too, in braces.
fn is_of_interface(name: &str) -> bool {
    name.contains('#') && !name.contains('{')
}

/// By its crate, `<T as Trait>::method` by those of the type and the trait; and what is exported under an interface's name.
pub(in crate::plugin) fn is_foreign(name: &str) -> bool {
    let is_generated = GENERATED.iter().any(|beginning| name.starts_with(beginning)) || is_of_interface(name);
    let is_libc = OF_LIBC.contains(&name);
    let is_of = |path: &str| {
        let path = path.trim_start_matches(['<', '&', '(', '[']).trim_start_matches("dyn ");
        FOREIGN_CRATES.iter().any(|name| path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
    };
    let implemented = name.strip_prefix('<').and_then(|name| name.split_once(" as "));
    let (own, of_trait) = implemented.map_or((name, None), |(own, rest)| (own, Some(rest)));
    // What an author implements of a foreign trait is his, but for the SDK's, which its macros implement.
    let is_shim = of_trait.is_some_and(|path| path.starts_with("runhook_sdk::contract::"));
    is_generated || is_libc || is_shim || is_of(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_author_did_not_write_is_told_apart() {
        for own in [
            "slow_runs::keep",
            "slow_runs::keep::{closure#0}",
            "<slow_runs::Config as core::fmt::Display>::fmt",
            "corelib::sort",
            "PyObject_Call",
        ] {
            assert!(!is_foreign(own), "{own}");
        }
        let foreign = [
            "core::panicking::panic_fmt",
            "<core::option::Option<u32>>::unwrap",
            "<alloc::vec::Vec<u8> as core::ops::index::Index<usize>>::index",
            "std::panicking::begin_panic_handler::{closure#0}",
            "__rust_start_panic",
            "rust_begin_unwind",
            "abort",
            "export_keep",
            "<slow_runs::_::Plugin as runhook_sdk::contract::Filter>::keep",
            "runhook_sdk::guest::keep",
            "runhook:plugin/filter@1.0.0#keep",
        ];
        for foreign in foreign {
            assert!(is_foreign(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_function_that_a_macro_wrote_around_a_stage_is_left_out() {
        let frame = |name: &str| Frame { name: name.to_owned(), place: Some("src/lib.rs:1".to_owned()) };
        let names = |frames: &[&str]| {
            let left = without_shims(frames.iter().map(|name| frame(name)).collect());
            left.into_iter().map(|frame| frame.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["price", "apply", "apply", "export_apply"]), ["price", "apply", "export_apply"]);
        let interface = "runhook:plugin/filter@1.0.0#keep";
        assert_eq!(names(&["is_slow", "keep", interface]), ["is_slow", interface]);
        assert_eq!(names(&["keep", "export_keep"]), ["keep", "export_keep"]);
        assert_eq!(names(&["apply", "main"]), ["apply", "main"]);
    }

    #[test]
    fn a_function_is_shown_without_its_hash_and_on_one_line() {
        assert_eq!(demangled("_ZN9slow_runs4keep17h0123456789abcdefE"), "slow_runs::keep");
        let frame = Frame { name: "a\nb".to_owned(), place: Some("src/lib.rs:7".to_owned()) };
        assert_eq!(frame.shown(), "a\\nb at src/lib.rs:7");
        let long = Frame { name: "ä".repeat(1000), place: None };
        assert_eq!(long.shown().chars().count(), FRAME_CHARS_MAX);
    }
}
