//! Reads a stage from a function: which stage it is, its configuration's type, its doc comment.
//!
//! Everything that an author can get wrong in the signature is answered here, with the right form in the message.

use proc_macro2::Ident;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, FnArg, ItemFn, Lit, Meta, Result, Type, TypeReference};

/// The stages that a plugin can have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Filter,
    Transform,
    Render,
}

impl Kind {
    /// In the order in which they run.
    pub(crate) const ALL: [Kind; 3] = [Kind::Filter, Kind::Transform, Kind::Render];

    /// The attribute's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Filter => "filter",
            Kind::Transform => "transform",
            Kind::Render => "render",
        }
    }

    /// How many arguments come before the configuration.
    fn arity(self) -> usize {
        match self {
            Kind::Filter | Kind::Transform => 1,
            Kind::Render => 2,
        }
    }

    fn signature(self) -> &'static str {
        match self {
            Kind::Filter => "fn(run: &Run[, config: &Config]) -> bool or Result<bool>",
            Kind::Transform => "fn(payload: &Payload[, config: &Config]) -> () or Result<()>",
            Kind::Render => "fn(payload: &Payload, body: &Body[, config: &Config]) -> bool or Result<bool>",
        }
    }
}

/// One stage of a plugin.
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    pub(crate) function: Ident,
    pub(crate) config: Option<Type>,
    pub(crate) docs: String,
}

impl Stage {
    /// The stage that a function is, or what is wrong with its signature.
    pub(crate) fn of(kind: Kind, function: &ItemFn) -> Result<Stage> {
        let signature = &function.sig;
        let complain = |span, what: &str| {
            Err(syn::Error::new(span, format!("{what}; `#[{}]` goes on {}", kind.name(), kind.signature())))
        };
        if let Some(asyncness) = &signature.asyncness {
            return complain(asyncness.span(), "a stage is not async");
        }
        if !signature.generics.params.is_empty() {
            return complain(signature.generics.span(), "a stage is not generic");
        }
        let types = signature.inputs.iter().map(referenced_type).collect::<Option<Vec<_>>>();
        let Some(types) = types else {
            return complain(signature.inputs.span(), "a stage takes references");
        };
        if types.len() != kind.arity() && types.len() != kind.arity() + 1 {
            return complain(signature.span(), &format!("{} arguments do not fit", types.len()));
        }
        let config = types.get(kind.arity()).map(|ty| (*ty).clone());
        Ok(Stage { kind, function: signature.ident.clone(), config, docs: docs(&function.attrs) })
    }
}

fn referenced_type(argument: &FnArg) -> Option<&Type> {
    match argument {
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(TypeReference { elem, .. }) => Some(elem),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    }
}

/// The first paragraph of a doc comment, on one line.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(doc_line);
    let paragraph: Vec<_> = lines.skip_while(String::is_empty).take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ")
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    }
}
