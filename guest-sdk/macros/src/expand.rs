//! Writes the plugin around its stages: an anonymous type that implements the SDK's traits, and the exports, which
//! stand under `cfg(target_family = "wasm")` so that the same crate links natively for its tests.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemFn, ItemMod, ItemStruct, Result, Type};

use crate::stage::{Kind, Stage, docs};

/// A function that is the whole plugin.
pub(crate) fn function(stage: &Stage, item: &ItemFn) -> TokenStream {
    let plugin = plugin(&[stage], &stage.docs, stage.config.as_ref());
    quote! {
        #[allow(dead_code, reason = "natively only tests call it")]
        #item
        #plugin
    }
}

/// A module that holds the stages of one plugin.
pub(crate) fn module(mut item: ItemMod) -> Result<TokenStream> {
    let span = item.span();
    let Some((_, items)) = &mut item.content else {
        return Err(syn::Error::new(span, "`#[plugin]` goes on a module with its code in braces"));
    };
    let mut stages: Vec<Stage> = Vec::new();
    for function in items.iter_mut().filter_map(as_function) {
        let Some((at, kind)) = stage_attribute(&function.attrs) else { continue };
        let attribute = function.attrs.remove(at);
        if stages.iter().any(|stage| stage.kind == kind) {
            return Err(syn::Error::new_spanned(attribute, format!("a plugin has one `#[{}]` at most", kind.name())));
        }
        stages.push(Stage::of(kind, function)?);
        function.attrs.push(syn::parse_quote!(#[allow(dead_code, reason = "natively only tests call it")]));
    }
    if stages.is_empty() {
        return Err(syn::Error::new(span, "a plugin needs a `#[filter]`, a `#[transform]` or a `#[render]`"));
    }
    let config = shared_config(&stages)?;
    let docs = Some(docs(&item.attrs)).filter(|docs| !docs.is_empty()).unwrap_or_else(|| stages[0].docs.clone());
    let plugin = plugin(&stages.iter().collect::<Vec<_>>(), &docs, config);
    items.push(Item::Verbatim(plugin));
    Ok(quote!(#item))
}

/// The derives that make a struct a configuration.
pub(crate) fn config(item: ItemStruct) -> TokenStream {
    quote! {
        #[derive(::runhook_sdk::serde::Deserialize, ::runhook_sdk::schemars::JsonSchema)]
        #[serde(crate = "::runhook_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "::runhook_sdk::schemars")]
        #item
    }
}

fn as_function(item: &mut Item) -> Option<&mut ItemFn> {
    match item {
        Item::Fn(function) => Some(function),
        _ => None,
    }
}

fn stage_attribute(attributes: &[Attribute]) -> Option<(usize, Kind)> {
    attributes.iter().enumerate().find_map(|(at, attribute)| {
        let name = attribute.path().segments.last()?.ident.to_string();
        Kind::ALL.into_iter().find(|kind| kind.name() == name).map(|kind| (at, kind))
    })
}

fn shared_config(stages: &[Stage]) -> Result<Option<&Type>> {
    let mut configs = stages.iter().filter_map(|stage| stage.config.as_ref());
    let first = configs.next();
    let text = |config: &Type| quote!(#config).to_string();
    match configs.find(|config| Some(text(config)) != first.map(text)) {
        Some(other) => Err(syn::Error::new_spanned(other, "the stages of a plugin share one configuration type")),
        None => Ok(first),
    }
}

fn plugin(stages: &[&Stage], docs: &str, config: Option<&Type>) -> TokenStream {
    let lifecycle = lifecycle(docs, config);
    let implementations = stages.iter().map(|stage| implementation(stage));
    let interfaces = stages.iter().map(|stage| format_ident!("{}", stage.kind.name()));
    quote! {
        const _: () = {
            #[allow(dead_code, reason = "only the component's exports use it")]
            struct Plugin;
            #lifecycle
            #(#implementations)*
            #[cfg(target_family = "wasm")]
            ::runhook_sdk::bindings::lifecycle::export!(Plugin);
            #(
                #[cfg(target_family = "wasm")]
                ::runhook_sdk::bindings::#interfaces::export!(Plugin);
            )*
        };
    }
}

fn lifecycle(docs: &str, config: Option<&Type>) -> TokenStream {
    let description = if docs.is_empty() { quote!(::core::env!("CARGO_PKG_DESCRIPTION")) } else { quote!(#docs) };
    let (cell, schema, configure) = match config {
        Some(ty) => (
            Some(quote!(static CONFIG: ::std::sync::OnceLock<#ty> = ::std::sync::OnceLock::new();)),
            quote!(::core::option::Option::Some(::runhook_sdk::config::schema::<#ty>())),
            quote!(::runhook_sdk::config::store(&CONFIG, config)),
        ),
        None => (None, quote!(::core::option::Option::None), quote!(::runhook_sdk::config::refuse_any(config))),
    };
    quote! {
        #cell
        impl ::runhook_sdk::contract::Lifecycle for Plugin {
            fn describe() -> ::std::string::String {
                ::runhook_sdk::config::describe(#description, ::core::env!("CARGO_PKG_VERSION"), #schema)
            }
            fn configure(config: &str) -> ::runhook_sdk::Result<()> {
                #configure
            }
        }
    }
}

fn implementation(stage: &Stage) -> TokenStream {
    let function = &stage.function;
    let config = stage.config.as_ref().map(|_| quote!(::runhook_sdk::config::stored(&CONFIG)));
    let span = function.span();
    match stage.kind {
        Kind::Filter => {
            let call = quote_spanned!(span=> #function(run, #config));
            quote! {
                impl ::runhook_sdk::contract::Filter for Plugin {
                    fn keep(run: &::runhook_sdk::Run) -> ::core::result::Result<bool, ::std::string::String> {
                        <_ as ::runhook_sdk::contract::Answer<bool>>::into_result(#call)
                    }
                }
            }
        }
        Kind::Transform => {
            let call = quote_spanned!(span=> #function(payload, #config));
            quote! {
                impl ::runhook_sdk::contract::Transform for Plugin {
                    fn apply(payload: &::runhook_sdk::Payload) -> ::core::result::Result<(), ::std::string::String> {
                        <_ as ::runhook_sdk::contract::Answer<()>>::into_result(#call)
                    }
                }
            }
        }
        Kind::Render => {
            let call = quote_spanned!(span=> #function(payload, body, #config));
            quote! {
                impl ::runhook_sdk::contract::Render for Plugin {
                    fn render(
                        payload: &::runhook_sdk::Payload,
                        body: &::runhook_sdk::Body,
                    ) -> ::core::result::Result<bool, ::std::string::String> {
                        <_ as ::runhook_sdk::contract::Answer<bool>>::into_result(#call)
                    }
                }
            }
        }
    }
}
