//! JSON as entries: one for each leaf, its path dotted, arrays without their indexes.
//!
//! Runs are what anybody sends, so everything here has a bound: depth, keys, entries, lengths.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::filter::json::{WithKey, walk};
use crate::filter::literal::cut;
use crate::filter::{ENTRIES_MAX, KEY_BYTES_MAX, KEYS_MAX, LEVELS_MAX};

/// The entries of one document, in its order.
#[derive(Debug, Default)]
pub(super) struct Entries<'a> {
    keys: Vec<String>,
    entries: Vec<(usize, Option<Cow<'a, str>>)>,
    /// Where the walk is.
    path: String,
}

impl<'a> Entries<'a> {
    /// Of a JSON text, or of one member of the object in it.
    pub(super) fn new(text: Option<&'a str>, member: Option<&str>) -> Self {
        let mut entries = Self::default();
        if let Some(text) = text {
            walk(text, member, Leaves { entries: &mut entries, level: 0 });
        }
        entries
    }

    /// Keys and values. The value is absent of null, of what is empty and of what is nested too deep.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries.iter().map(|(key, value)| (self.keys.get(*key).map_or("", String::as_str), value.as_deref()))
    }

    /// Whether there is something at a path: a leaf, or leaves below it.
    pub(super) fn has_path(&self, path: &str) -> bool {
        self.keys.iter().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    pub(super) fn value(&self, wanted: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == wanted).and_then(|(_, value)| value)
    }

    /// Adds an entry at the walk's place. An error where there is no room, which ends the walk.
    fn push<E: Error>(&mut self, value: Option<Cow<'a, str>>) -> Result<(), E> {
        if self.entries.len() == ENTRIES_MAX {
            return Err(E::custom("enough entries"));
        }
        let key = match self.keys.iter().rposition(|key| *key == self.path) {
            Some(key) => key,
            None if self.keys.len() == KEYS_MAX => return Err(E::custom("enough keys")),
            None => {
                self.keys.push(self.path.clone());
                self.keys.len() - 1
            }
        };
        self.entries.push((key, value));
        Ok(())
    }

    /// Goes down to a member; whether its path is short enough to be known.
    fn enter(&mut self, member: &str) -> bool {
        let dot = if self.path.is_empty() { "" } else { "." };
        if self.path.len() + dot.len() + member.len() > KEY_BYTES_MAX {
            return false;
        }
        self.path.push_str(dot);
        self.path.push_str(member);
        true
    }
}

/// Keeps the leaves of a value.
struct Leaves<'e, 'a> {
    entries: &'e mut Entries<'a>,
    level: usize,
}

impl<'a> DeserializeSeed<'a> for Leaves<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.level > LEVELS_MAX {
            // Skipping does not recurse, however deep it is.
            deserializer.deserialize_ignored_any(IgnoredAny)?;
            return self.entries.push(None);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Leaves<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.entries.push(Some(Cow::Borrowed(cut(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.entries.push(Some(Cow::Owned(cut(text).to_owned())))
    }

    fn visit_bool<E: Error>(self, is_true: bool) -> Result<(), E> {
        self.entries.push(Some(Cow::Borrowed(if is_true { "true" } else { "false" })))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.entries.push(Some(number.to_string().into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.entries.push(Some(number.to_string().into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.entries.push(serde_json::Number::from_f64(number).map(|number| number.to_string().into()))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.entries.push(None)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { entries, level } = self;
        let outside = entries.path.len();
        let mut is_empty = true;
        while let Some(is_known) = map.next_key_seed(WithKey(|key: &str| entries.enter(key)))? {
            is_empty = false;
            if is_known {
                map.next_value_seed(Leaves { entries: &mut *entries, level: level + 1 })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            entries.path.truncate(outside);
        }
        if is_empty { entries.push(None) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { entries, level } = self;
        let mut is_empty = true;
        while elements.next_element_seed(Leaves { entries: &mut *entries, level: level + 1 })?.is_some() {
            is_empty = false;
        }
        if is_empty { entries.push(None) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, Option<String>)> {
        Entries::new(Some(text), None).iter().map(|(key, value)| (key.to_owned(), value.map(str::to_owned))).collect()
    }

    fn entry(key: &str, value: &str) -> (String, Option<String>) {
        (key.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn paths_are_dotted_and_arrays_have_no_index() {
        assert_eq!(
            entries(r#"{"a":{"b":"x","c":[1,{"d":true}]},"e":"q\n","f":-1.5}"#),
            [entry("a.b", "x"), entry("a.c", "1"), entry("a.c.d", "true"), entry("e", "q\n"), entry("f", "-1.5")]
        );
    }

    #[test]
    fn nothing_is_a_key_without_a_value() {
        let absent = |key: &str| (key.to_owned(), None);
        assert_eq!(entries(r#"{"a":null,"b":{},"c":[]}"#), [absent("a"), absent("b"), absent("c")]);
        assert_eq!(Entries::new(None, None).iter().count(), 0);
    }

    #[test]
    fn a_member_is_found_among_others() {
        let text = r#"{"runtime":{"metadata":{"no":1}},"metadata":{"k":"v"},"more":[]}"#;
        let entries = Entries::new(Some(text), Some("metadata"));
        assert_eq!(entries.iter().collect::<Vec<_>>(), [("k", Some("v"))]);
        assert_eq!(Entries::new(Some("[1]"), Some("metadata")).iter().count(), 0);
    }

    #[test]
    fn keys_entries_and_lengths_have_bounds() {
        let members: Vec<_> = (0..KEYS_MAX + 20).map(|n| format!("\"k{n}\":[{n},{n}]")).collect();
        assert_eq!(entries(&format!("{{{}}}", members.join(","))).len(), 2 * KEYS_MAX);
        assert_eq!(entries(&format!("[{}0]", "1,".repeat(5000))).len(), ENTRIES_MAX);
        assert_eq!(entries(&format!("\"{}\"", "é".repeat(400))), [entry("", &"é".repeat(250))]);
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        assert_eq!(entries(&format!("{{\"{long}\":{{\"a\":1}},\"b\":2}}")), [entry("b", "2")]);
    }

    #[test]
    fn what_is_nested_deep_has_no_keys_below_and_hides_nothing_after_it() {
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        let found =
            entries(&format!("{{\"deep\":{deep},\"list\":{}{},\"k\":\"v\"}}", "[".repeat(9999), "]".repeat(9999)));
        assert_eq!(found.len(), 3);
        assert!(found[0].0.starts_with("deep.a.a") && found[0].1.is_none());
        assert_eq!(found[2], entry("k", "v"));
    }

    #[test]
    fn malformed_text_counts_as_far_as_it_goes() {
        assert_eq!(entries(r#"{"a":1,"b":"#), [entry("a", "1")]);
        assert_eq!(entries("nonsense"), []);
    }

    #[test]
    fn a_path_is_there_for_leaves_and_for_what_is_above_them() {
        let entries = Entries::new(Some(r#"{"a":{"b":null},"cd":[]}"#), None);
        assert!(["a", "a.b", "cd"].into_iter().all(|path| entries.has_path(path)));
        assert!(!["a.", "b", "c", "a.b.c"].into_iter().any(|path| entries.has_path(path)));
    }
}
