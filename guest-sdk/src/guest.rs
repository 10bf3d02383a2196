//! The guest's side of the WIT: bindings, and the exports of a plugin in terms of them. The only file that knows it.
//!
//! The handles are generated once. Each interface that a plugin may export has a world of its own, so that a plugin
//! exports the stages that it has and no other; the linker joins the worlds.

use ref_cast::RefCast;

use crate::contract::{Filter, Lifecycle, Render, Transform};
use crate::{Body, Payload, Run};
use bindings::imports::runhook::plugin::{document, log, output};

pub(crate) type RunHandle = document::Run;
pub(crate) type PayloadHandle = document::Payload;
pub(crate) type BodyHandle = output::Body;

pub(crate) fn log(level: &str, message: &str) {
    log::log(level, message);
}

/// Generated code; the export macros of a plugin's crate reach into it.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod bindings {
    pub mod imports {
        wit_bindgen::generate!({
            path: "wit",
            inline: "package runhook:sdk;
                world imports {
                    import runhook:plugin/document@1.0.0;
                    import runhook:plugin/log@1.0.0;
                    import runhook:plugin/output@1.0.0;
                }",
            generate_all,
        });
    }

    pub mod lifecycle {
        wit_bindgen::generate!({
            path: "wit",
            inline: "package runhook:sdk; world lifecycle { export runhook:plugin/lifecycle@1.0.0; }",
            with: { "runhook:plugin/document@1.0.0": crate::guest::bindings::imports::runhook::plugin::document },
            generate_all,
            pub_export_macro: true,
            default_bindings_module: "runhook_sdk::bindings::lifecycle",
        });
    }

    pub mod filter {
        wit_bindgen::generate!({
            path: "wit",
            inline: "package runhook:sdk; world filter { export runhook:plugin/filter@1.0.0; }",
            with: { "runhook:plugin/document@1.0.0": crate::guest::bindings::imports::runhook::plugin::document },
            generate_all,
            pub_export_macro: true,
            default_bindings_module: "runhook_sdk::bindings::filter",
        });
    }

    pub mod transform {
        wit_bindgen::generate!({
            path: "wit",
            inline: "package runhook:sdk; world transform { export runhook:plugin/transform@1.0.0; }",
            with: { "runhook:plugin/document@1.0.0": crate::guest::bindings::imports::runhook::plugin::document },
            generate_all,
            pub_export_macro: true,
            default_bindings_module: "runhook_sdk::bindings::transform",
        });
    }

    pub mod render {
        wit_bindgen::generate!({
            path: "wit",
            inline: "package runhook:sdk; world render { export runhook:plugin/render@1.0.0; }",
            with: {
                "runhook:plugin/document@1.0.0": crate::guest::bindings::imports::runhook::plugin::document,
                "runhook:plugin/output@1.0.0": crate::guest::bindings::imports::runhook::plugin::output,
            },
            generate_all,
            pub_export_macro: true,
            default_bindings_module: "runhook_sdk::bindings::render",
        });
    }
}

impl<P: Lifecycle> bindings::lifecycle::exports::runhook::plugin::lifecycle::Guest for P {
    fn describe() -> String {
        P::describe()
    }

    fn configure(config: String) -> Result<(), String> {
        P::configure(&config).map_err(|error| error.to_string())
    }
}

impl<P: Filter> bindings::filter::exports::runhook::plugin::filter::Guest for P {
    fn keep(run: &RunHandle) -> Result<bool, String> {
        P::keep(Run::ref_cast(run))
    }
}

impl<P: Transform> bindings::transform::exports::runhook::plugin::transform::Guest for P {
    fn apply(payload: &PayloadHandle) -> Result<(), String> {
        P::apply(Payload::ref_cast(payload))
    }
}

impl<P: Render> bindings::render::exports::runhook::plugin::render::Guest for P {
    fn render(payload: &PayloadHandle, response: &BodyHandle) -> Result<bool, String> {
        P::render(Payload::ref_cast(payload), Body::ref_cast(response))
    }
}
