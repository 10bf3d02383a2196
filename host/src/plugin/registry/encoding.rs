//! How a component passes strings, read from its bytes: the engine knows three encodings, the host takes one.

use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload};

/// Refuses what is not UTF-8. Every language's tools can do UTF-8, and what translates between encodings is code of the
/// engine's that no honest plugin needs. Bytes that cannot be read are the compiler's to refuse.
///
/// # Errors
/// In words, what it uses.
pub(in crate::plugin) fn check(component: &[u8]) -> Result<(), String> {
    let canonical = Parser::new(0).parse_all(component).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::ComponentCanonicalSection(section) => Some(section),
        _ => None,
    });
    let functions = canonical.flat_map(|section| section.into_iter().map_while(Result::ok));
    match functions.flat_map(options).find_map(|option| encoding(&option)) {
        Some(encoding) => Err(format!("it passes strings in {encoding}; build it so that it passes them in UTF-8")),
        None => Ok(()),
    }
}

fn options(function: CanonicalFunction) -> Box<[CanonicalOption]> {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => options,
        _ => Box::default(),
    }
}

fn encoding(option: &CanonicalOption) -> Option<&'static str> {
    match option {
        CanonicalOption::UTF16 => Some("UTF-16"),
        CanonicalOption::CompactUTF16 => Some("Latin-1 or UTF-16"),
        _ => None,
    }
}
