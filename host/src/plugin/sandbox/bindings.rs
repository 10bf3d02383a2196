//! The host's side of the WIT imports, generated. A resource's number is all there is to it: a run's is its place in the
//! document, so that no table of handles is kept.

#![allow(missing_docs, unreachable_pub)]

/// A run of the payload; its number is the run's key.
pub struct RunHandle;
/// The payload; there is one, so its number means nothing.
pub struct PayloadHandle;
/// The body that a render stage fills; there is one.
pub struct BodyHandle;

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package runhook:host;
        world imports {
            import runhook:plugin/document@1.0.0;
            import runhook:plugin/log@1.0.0;
            import runhook:plugin/output@1.0.0;
        }
    ",
    world: "runhook:host/imports",
    imports: { default: trappable },
    with: {
        "runhook:plugin/document.run": RunHandle,
        "runhook:plugin/document.payload": PayloadHandle,
        "runhook:plugin/output.body": BodyHandle,
    },
});

pub use self::runhook::plugin::{document, log, output};
