//! Reads one object of a definition, field by field, and notes what is wrong where.

use serde_json::{Map, Value};

use crate::definition::{Problem, Problems};
use crate::nearest::did_you_mean;

/// An object and its place.
pub(super) struct Object<'a> {
    at: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// None, and noted, where there is something else.
    pub(super) fn new(value: &'a Value, at: &str, problems: &mut Problems) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self { at: at.to_owned(), fields }),
            other => {
                problems.push(needs(at, "an object", other));
                None
            }
        }
    }

    pub(super) fn place(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// Notes every key that is none of these.
    pub(super) fn only(&self, known: &[&str], problems: &mut Problems) {
        for key in self.fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let problem = format!("unknown key{}", did_you_mean(key, known.iter().copied()));
            problems.push(Problem { at: self.place(key), problem });
        }
    }

    /// The value; null is as good as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn string(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        self.typed(key, "a string", Value::as_str, problems)
    }

    pub(super) fn boolean(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool, problems)
    }

    pub(super) fn number(&self, key: &str, problems: &mut Problems) -> Option<f64> {
        self.typed(key, "a number", Value::as_f64, problems)
    }

    pub(super) fn object(&self, key: &str, problems: &mut Problems) -> Option<&'a Map<String, Value>> {
        self.typed(key, "an object", Value::as_object, problems)
    }

    /// The elements with their places.
    pub(super) fn array(&self, key: &str, problems: &mut Problems) -> Vec<(String, &'a Value)> {
        let elements = self.typed(key, "an array", Value::as_array, problems).into_iter().flatten();
        elements.enumerate().map(|(index, value)| (format!("{}[{index}]", self.place(key)), value)).collect()
    }

    fn typed<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
        problems: &mut Problems,
    ) -> Option<T> {
        let value = self.get(key)?;
        let read = read(value);
        if read.is_none() {
            problems.push(needs(&self.place(key), kind, value));
        }
        read
    }
}

/// Says what stands there by its kind only: the value may be a secret.
fn needs(at: &str, needed: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Problem { at: at.to_owned(), problem: format!("needs {needed}; this is {found}") }
}
