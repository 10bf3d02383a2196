//! The attribute macros of `runhook-sdk`; use them through that crate's prelude.
//!
//! A macro reads one function's signature (`stage`) and writes the plugin around it (`expand`). What the plugin
//! does at run time is ordinary code in `runhook-sdk`; nothing here knows the WIT.

mod expand;
mod stage;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use syn::{ItemFn, ItemMod, ItemStruct};

use crate::stage::{Kind, Stage};

/// Makes a plugin with a filter stage of a function: `fn(&Run) -> bool`.
///
/// The function says whether a run stays in the payload. It may take `config: &Config` as well, and may answer
/// `Result<bool>`: an error is one of the whole payload, and the rule's `on_error` decides.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[filter]
/// fn keep_errors(run: &Run) -> bool {
///     run.status() == "error"
/// }
///
/// let run = Run::from_json(r#"{"status": "error"}"#)?;
/// assert!(keep_errors(&run));
/// # Ok::<(), Error>(())
/// ```
#[proc_macro_attribute]
pub fn filter(arguments: TokenStream, item: TokenStream) -> TokenStream {
    single(Kind::Filter, arguments, item)
}

/// Makes a plugin with a transform stage of a function: `fn(&Payload) -> Result<()>`.
///
/// The function edits the payload in place. It may take `config: &Config` as well, and may answer nothing where it
/// cannot fail.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[config]
/// struct Config {
///     field: String,
/// }
///
/// #[transform]
/// fn redact(payload: &Payload, config: &Config) -> Result<()> {
///     for run in payload.runs() {
///         run.set(&config.field, "[redacted]")?;
///     }
///     Ok(())
/// }
///
/// let payload = Payload::from_json(r#"{"runs": [{"inputs": "secret"}]}"#)?;
/// redact(&payload, &Config { field: "/inputs".to_owned() })?;
/// assert_eq!(payload.json(), r#"{"runs":[{"inputs":"[redacted]"}]}"#);
/// # Ok::<(), Error>(())
/// ```
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    single(Kind::Transform, arguments, item)
}

/// Makes a plugin with a render stage of a function: `fn(&Payload, &Body) -> Result<bool>`.
///
/// The function writes the body for a receiver that is not LangSmith-shaped; `false` means that there is nothing to
/// send. It may take `config: &Config` as well, and may answer a plain `bool` where it cannot fail.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[render]
/// fn count(payload: &Payload, body: &Body) -> Result<bool> {
///     body.write_json(&json!({"text": format!("{} runs", payload.len())}))?;
///     Ok(true)
/// }
///
/// let body = Body::new();
/// assert!(count(&Payload::from_json(r#"{"runs": [{}, {}]}"#)?, &body)?);
/// assert_eq!(body.text(), r#"{"text":"2 runs"}"#);
/// # Ok::<(), Error>(())
/// ```
#[proc_macro_attribute]
pub fn render(arguments: TokenStream, item: TokenStream) -> TokenStream {
    single(Kind::Render, arguments, item)
}

/// Makes one plugin of several stages: a module with at most one function each under `#[filter]`, `#[transform]` and
/// `#[render]`.
///
/// The stages run in that order, share one `Config`, and the module's doc comment describes the plugin.
///
/// ```
/// use runhook_sdk::plugin;
///
/// /// Slow runs only, without their inputs.
/// #[plugin]
/// mod slow_runs {
///     use runhook_sdk::prelude::*;
///
///     #[config]
///     pub struct Config {
///         pub slower_than_ms: f64,
///     }
///
///     #[filter]
///     pub fn is_slow(run: &Run, config: &Config) -> bool {
///         run.latency_ms().is_some_and(|latency| latency > config.slower_than_ms)
///     }
///
///     #[transform]
///     pub fn drop_inputs(payload: &Payload) {
///         for run in payload.runs() {
///             run.remove("/inputs");
///         }
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(no_arguments("plugin", arguments).and_then(|()| syn::parse::<ItemMod>(item)).and_then(expand::module))
}

/// Makes a struct the plugin's configuration: it derives `Deserialize` and `JsonSchema` and refuses unknown fields.
///
/// serde's attributes work on its fields as usual; doc comments become the descriptions in the schema. A plugin may
/// as well derive the two itself, with `serde` and `schemars` among its dependencies.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[config]
/// struct Config {
///     /// Share of the runs that are kept.
///     #[serde(default = "half")]
///     rate: f64,
/// }
///
/// fn half() -> f64 {
///     0.5
/// }
///
/// assert_eq!(runhook_sdk::config::parse::<Config>("{}")?.rate, 0.5);
/// let error = runhook_sdk::config::parse::<Config>(r#"{"rate": "all"}"#).map(|_| ()).unwrap_err();
/// assert_eq!(error.to_string(), "config field `rate`: invalid type: string \"all\", expected f64");
/// # Ok::<(), Error>(())
/// ```
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(no_arguments("config", arguments).and_then(|()| syn::parse::<ItemStruct>(item)).map(expand::config))
}

fn single(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(
        no_arguments(kind.name(), arguments)
            .and_then(|()| syn::parse::<ItemFn>(item))
            .and_then(|function| Ok(expand::function(&Stage::of(kind, &function)?, &function))),
    )
}

fn no_arguments(name: &str, arguments: TokenStream) -> syn::Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    Err(syn::Error::new_spanned(Tokens::from(arguments), format!("`#[{name}]` takes no arguments")))
}

fn finish(expansion: syn::Result<Tokens>) -> TokenStream {
    expansion.unwrap_or_else(|error| error.to_compile_error()).into()
}
