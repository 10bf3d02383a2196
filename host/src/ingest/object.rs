//! A JSON object read one level deep: its entries as they stand in the text, without nulls, none twice.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json;

/// Entries of a run or of feedback: the SDKs send some twenty, and nobody can add to them.
const ENTRIES_MAX: usize = 128;

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// The key, unescaped.
    pub(super) key: Cow<'a, str>,
    /// The key as it stands, with its quotes.
    raw_key: &'a str,
    /// The value as it stands, or text in its place.
    pub(super) json: Cow<'a, str>,
}

impl Entry<'_> {
    /// Appends `"key":value`, behind a comma where something is before.
    pub(super) fn write(&self, members: &mut Vec<u8>) {
        if !members.is_empty() {
            members.push(b',');
        }
        members.extend_from_slice(self.raw_key.as_bytes());
        members.push(b':');
        members.extend_from_slice(self.json.as_bytes());
    }
}

/// The entries of an object in their order. Of a key that comes twice the last holds, as in JSON at large; if that is
/// null, the key is not there.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn entries(text: &[u8], levels_max: usize) -> Result<Vec<Entry<'_>>, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("it is no UTF-8 text: {error}"))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(Entries).and_then(|entries| deserializer.end().map(|()| entries));
    let mut entries = read.map_err(|error| error.to_string())?;
    json::check_levels(text, levels_max)?;
    entries.retain(|entry| entry.json != "null");
    Ok(entries)
}

/// The entries as the text of an object.
pub(super) fn to_object<'a>(entries: impl IntoIterator<Item = &'a Entry<'a>>, bytes_hint: usize) -> Vec<u8> {
    let mut members = Vec::with_capacity(bytes_hint);
    for entry in entries {
        entry.write(&mut members);
    }
    members.insert(0, b'{');
    members.push(b'}');
    members
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry<'de>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<Entry<'de>> = Vec::with_capacity(16);
        while let Some((raw_key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let raw_key = raw_key.get();
            let key = json::text(raw_key).unwrap_or(Cow::Borrowed(raw_key));
            let entry = Entry { key, raw_key, json: Cow::Borrowed(value.get()) };
            match entries.iter_mut().find(|earlier| earlier.key == entry.key) {
                Some(earlier) => *earlier = entry,
                None => entries.push(entry),
            }
            if entries.len() > ENTRIES_MAX {
                return Err(A::Error::custom(format_args!("it has more than {ENTRIES_MAX} fields")));
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Result<String, String> {
        let entries = entries(text.as_bytes(), 100)?;
        Ok(String::from_utf8(to_object(&entries, text.len())).unwrap())
    }

    #[test]
    fn values_stay_as_they_were_sent() {
        let text = r#"{"b":1.10,"a":{"z": 1e2, "y":null},"\u0063":"\u0000\ud800"}"#;
        assert_eq!(normal(text).unwrap(), text);
        assert_eq!(normal(" { \"a\" : [ 1 ] } ").unwrap(), r#"{"a":[ 1 ]}"#);
        assert_eq!(normal("{}").unwrap(), "{}");
    }

    #[test]
    fn nulls_go_and_the_last_of_a_key_holds() {
        assert_eq!(normal(r#"{"a":null,"b":1,"c":2,"\u0062":3,"c":null}"#).unwrap(), r#"{"\u0062":3}"#);
    }

    #[test]
    fn other_values_and_bad_ends_are_refused() {
        for text in ["[]", "1", "null", "", "{} {}", "{\"a\":1", "{\"a\":}", "{1:2}", "{\"a\":\"\u{1}\"}"] {
            assert!(normal(text).is_err(), "{text}");
        }
        assert!(entries(b"{\"a\":\"\xff\"}", 100).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn fields_are_bounded() {
        let object = |fields: usize| {
            let members: Vec<_> = (0..fields).map(|index| format!("\"k{index}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(normal(&object(128)).is_ok());
        assert!(normal(&object(129)).unwrap_err().contains("128 fields"));
    }
}
