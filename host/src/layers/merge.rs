//! Splices objects together; values are never parsed. Knows no fields but the one it is told of.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::document::{Field, Fields, Syntax};

/// The older object's members that the later one lacks, then all of the later one's.
pub(super) fn add(stored: &str, later: &str) -> Result<String, Syntax> {
    let (stored_fields, later_fields) = (members(stored)?, members(later)?);
    let mut merged = String::with_capacity(stored.len() + later.len());
    write(&mut merged, lacking(&stored_fields, &later_fields), &later_fields, None);
    Ok(merged)
}

/// As [`add`], and the member of the given name is merged in the same way where it is an object in both. The newer text
/// itself where it lacks nothing; also where one of the two is no object.
pub(super) fn over<'a>(older: &str, newer: &'a str, nested: Option<&str>) -> Cow<'a, str> {
    if older == newer {
        return Cow::Borrowed(newer);
    }
    let (Ok(older_fields), Ok(newer_fields)) = (members(older), members(newer)) else { return Cow::Borrowed(newer) };
    let nested = nested.and_then(|key| Some((key, value(&older_fields, key)?, value(&newer_fields, key)?)));
    let nested = match nested.map(|(key, older, newer)| (key, over(older, newer, None))) {
        Some((key, Cow::Owned(merged))) => Some((key, merged)),
        _ => None,
    };
    let lacking = lacking(&older_fields, &newer_fields);
    if lacking.is_empty() && nested.is_none() {
        return Cow::Borrowed(newer);
    }
    let mut merged = String::with_capacity(older.len() + newer.len());
    write(&mut merged, lacking, &newer_fields, nested);
    Cow::Owned(merged)
}

fn members(object: &str) -> Result<Vec<Field<'_>>, Syntax> {
    let mut fields = Fields::of_object(object)?;
    let mut members = Vec::new();
    while let Some(field) = fields.read()? {
        members.push(field);
    }
    Ok(members)
}

fn value<'a>(fields: &[Field<'a>], key: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.key == key).map(|field| field.value)
}

/// Sources of the older members that the newer ones lack.
fn lacking<'a>(older: &[Field<'a>], newer: &[Field<'_>]) -> Vec<&'a str> {
    let keys: HashSet<&str> = newer.iter().map(|field| &*field.key).collect();
    older.iter().filter(|field| !keys.contains(&*field.key)).map(|field| field.source).collect()
}

/// Writes an object; `replaced` is the value of one of the newer members.
fn write(out: &mut String, older: Vec<&str>, newer: &[Field<'_>], replaced: Option<(&str, String)>) {
    out.push('{');
    for source in older {
        separated(out).push_str(source);
    }
    for field in newer {
        match &replaced {
            Some((key, merged)) if field.key == *key => {
                let before = field.source.len() - field.value.len();
                separated(out).push_str(&field.source[..before]);
                out.push_str(merged);
            }
            _ => separated(out).push_str(field.source),
        }
    }
    out.push('}');
}

fn separated(out: &mut String) -> &mut String {
    if out.len() > 1 {
        out.push(',');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_fields_win_and_values_stay_as_they_stand() {
        let merged = add(r#"{"a": [ 1 ], "b":1.0e0}"#, r#"{ "b" : {"x":[]},"c":"\u0041"}"#).unwrap();
        assert_eq!(merged, r#"{"a": [ 1 ],"b" : {"x":[]},"c":"\u0041"}"#);
        assert_eq!(add("{}", "{}").unwrap(), "{}");
        assert_eq!(add(r#"{"\u0061":1}"#, r#"{"a":2}"#).unwrap(), r#"{"a":2}"#);
    }

    #[test]
    fn a_newer_object_that_lacks_nothing_is_taken_as_it_is() {
        let newer = r#"{"metadata":{"b":2,"a":1}, "runtime":{}}"#;
        assert!(matches!(over(r#"{"metadata":{"a":0}}"#, newer, Some("metadata")), Cow::Borrowed(_)));
        assert!(matches!(over("[1]", newer, Some("metadata")), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_newer_object_lacks_is_kept_on_two_levels() {
        let merged =
            over(r#"{"runtime":{"x":1},"metadata":{"a":1,"b":1}}"#, r#"{"metadata":{"b":2}}"#, Some("metadata"));
        assert_eq!(merged, r#"{"runtime":{"x":1},"metadata":{"a":1,"b":2}}"#);
        let merged = over(r#"{"metadata":{"a":1}}"#, r#"{"metadata" : {"b":2}, "x":1}"#, Some("metadata"));
        assert_eq!(merged, r#"{"metadata" : {"a":1,"b":2},"x":1}"#);
        assert_eq!(over(r#"{"metadata":{"a":1}}"#, r#"{"metadata":7}"#, Some("metadata")), r#"{"metadata":7}"#);
    }
}
