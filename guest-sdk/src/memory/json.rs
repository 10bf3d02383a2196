//! JSON text read and edited at a pointer, one level at a time: the rest of the text is carried over as it is.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One object or array, its values as text.
enum Level<'a> {
    Object(Vec<(String, &'a str)>),
    Array(Vec<&'a str>),
}

/// A JSON pointer's parts.
pub(super) fn tokens(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or(format!("`{pointer}` is no JSON pointer: it begins with `/`"))?;
    rest.split('/').map(unescape).collect::<Option<_>>().ok_or(format!("`{pointer}`: `~` is written `~0`"))
}

fn unescape(token: &str) -> Option<String> {
    let tildes = token.matches('~').count();
    let escapes = token.matches("~0").count() + token.matches("~1").count();
    (tildes == escapes).then(|| token.replace("~1", "/").replace("~0", "~"))
}

/// Whether a text is one JSON value.
pub(super) fn check(json: &str) -> Result<(), String> {
    serde_json::from_str::<&RawValue>(json).map(|_| ()).map_err(|error| format!("the value is no JSON: {error}"))
}

/// Elements of the array at a pointer; 0 where there is none.
pub(super) fn array_len(text: &str, pointer: &str) -> usize {
    match tokens(pointer).ok().and_then(|tokens| get(text, &tokens)).and_then(level) {
        Some(Level::Array(elements)) => elements.len(),
        _ => 0,
    }
}

/// The value's text.
pub(super) fn get<'a>(text: &'a str, tokens: &[String]) -> Option<&'a str> {
    let Some((token, rest)) = tokens.split_first() else { return Some(text.trim()) };
    match level(text)? {
        Level::Object(fields) => get(fields.iter().rev().find(|(key, _)| key == token)?.1, rest),
        Level::Array(elements) => get(elements.get(index(token)?)?, rest),
    }
}

/// The document with the value in place; none where its parent does not exist.
pub(super) fn set(text: &str, tokens: &[String], value: &str) -> Option<String> {
    let Some((token, rest)) = tokens.split_first() else { return Some(value.to_owned()) };
    match level(text)? {
        Level::Object(fields) => set_field(&fields, token, rest, value),
        Level::Array(elements) => {
            let mut elements: Vec<_> = elements.into_iter().map(str::to_owned).collect();
            if token == "-" && rest.is_empty() {
                elements.push(value.to_owned());
            } else {
                let element = elements.get_mut(index(token)?)?;
                *element = set(element, rest, value)?;
            }
            Some(array(&elements))
        }
    }
}

fn set_field(fields: &[(String, &str)], token: &str, rest: &[String], value: &str) -> Option<String> {
    let Some(last) = fields.iter().rposition(|(key, _)| key == token) else {
        let added = rest.is_empty().then(|| (token, value.to_owned()));
        let kept = fields.iter().map(|(key, text)| (key.as_str(), (*text).to_owned()));
        return Some(object(kept.chain([added?])));
    };
    let mut edited = Vec::with_capacity(fields.len());
    for (at, (key, text)) in fields.iter().enumerate() {
        let new = if key == token { set(text, rest, value) } else { None };
        if at == last && new.is_none() {
            return None;
        }
        edited.push((key.as_str(), new.unwrap_or_else(|| (*text).to_owned())));
    }
    Some(object(edited.into_iter()))
}

/// The document without the value; none where there is no such value.
pub(super) fn remove(text: &str, tokens: &[String]) -> Option<String> {
    let (token, rest) = tokens.split_first()?;
    let edit = |text: &str| if rest.is_empty() { None } else { Some(remove(text, rest)) };
    match level(text)? {
        Level::Object(fields) => {
            let mut is_found = false;
            let mut kept = Vec::new();
            for (key, text) in &fields {
                match if key == token { edit(text) } else { Some(None) } {
                    None => is_found = true,
                    Some(Some(new)) => {
                        is_found = true;
                        kept.push((key.as_str(), new));
                    }
                    Some(None) => kept.push((key.as_str(), (*text).to_owned())),
                }
            }
            is_found.then(|| object(kept.into_iter()))
        }
        Level::Array(elements) => {
            let at = index(token).filter(|at| *at < elements.len())?;
            let mut elements: Vec<_> = elements.into_iter().map(str::to_owned).collect();
            match edit(&elements[at]) {
                None => drop(elements.remove(at)),
                Some(new) => elements[at] = new?,
            }
            Some(array(&elements))
        }
    }
}

fn index(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || !token.starts_with(['0', '+']);
    is_canonical.then(|| token.parse().ok())?
}

fn array(elements: &[String]) -> String {
    format!("[{}]", elements.join(","))
}

fn object<'k>(fields: impl Iterator<Item = (&'k str, String)>) -> String {
    let fields = fields.map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn level(text: &str) -> Option<Level<'_>> {
    match text.trim_start().as_bytes().first()? {
        b'{' => serde_json::from_str::<Fields<'_>>(text).ok().map(|fields| Level::Object(fields.0)),
        b'[' => {
            let elements = serde_json::from_str::<Vec<&RawValue>>(text).ok()?;
            Some(Level::Array(elements.into_iter().map(RawValue::get).collect()))
        }
        _ => None,
    }
}

/// An object's fields in order, each as often as it stands there.
struct Fields<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    fields.push((key, value.get()));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}
