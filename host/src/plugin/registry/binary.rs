//! What is read from a component's bytes, since the engine cannot be told to refuse it: how it passes strings, and whether
//! components within it have code.

use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload};

/// Refuses strings that are not UTF-8, and components with code within the component. Every language's tools do without
/// both; what translates between encodings and between components is code of the engine's that no honest plugin needs,
/// and of the latter no snapshot can be made. Bytes that cannot be read are the compiler's to refuse.
///
/// # Errors
/// In words, what it uses.
pub(in crate::plugin) fn check(component: &[u8]) -> Result<(), String> {
    let mut within = 0_usize;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ComponentCanonicalSection(section) => {
                let functions = section.into_iter().map_while(Result::ok);
                if let Some(encoding) = functions.flat_map(options).find_map(|option| encoding(&option)) {
                    return Err(format!("it passes strings in {encoding}; build it so that it passes them in UTF-8"));
                }
            }
            Payload::ModuleSection { .. } if within > 0 => {
                return Err(
                    "it has components with code within it, as when several are composed; make one of it".to_owned()
                );
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => within += 1,
            Payload::End(_) => within = within.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
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
