//! Whether a JSON document contains another: objects member by member, arrays as sets, the rest by equality.
//!
//! The wanted values have numbers below 64, so that one walk over the document asks for all of them at once.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::filter::CONTAINMENT_VALUES_MAX;
use crate::filter::json::{WithKey, walk};

/// An object to be contained.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Containment {
    /// What is inside comes before what it is in; the last is the object itself.
    wanted: Vec<Wanted>,
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Object { members: Vec<(String, Numbers)>, all: Numbers },
    Array { all: Numbers },
}

/// A set of numbers of wanted values.
type Numbers = u64;

impl Containment {
    /// None where the text is no JSON object, or one of more than `CONTAINMENT_VALUES_MAX` values.
    pub(super) fn new(text: &str) -> Option<Self> {
        // The parser refuses what is nested more than 128 levels deep.
        let value = serde_json::from_str::<Value>(text).ok().filter(Value::is_object)?;
        let mut containment = Self { wanted: Vec::new() };
        containment.add(value)?;
        Some(containment)
    }

    fn add(&mut self, value: Value) -> Option<Numbers> {
        let wanted = match value {
            Value::Null => Wanted::Null,
            Value::Bool(is_true) => Wanted::Bool(is_true),
            Value::Number(number) => Wanted::Number(number),
            Value::String(text) => Wanted::Text(text),
            Value::Array(elements) => {
                let numbers = elements.into_iter().map(|element| self.add(element)).collect::<Option<Vec<_>>>()?;
                Wanted::Array { all: union(numbers) }
            }
            Value::Object(members) => {
                let members: Vec<_> =
                    members.into_iter().map(|(key, value)| Some((key, self.add(value)?))).collect::<Option<_>>()?;
                let all = union(members.iter().map(|(_, number)| *number));
                Wanted::Object { members, all }
            }
        };
        if self.wanted.len() == CONTAINMENT_VALUES_MAX {
            return None;
        }
        self.wanted.push(wanted);
        Some(1 << (self.wanted.len() - 1))
    }

    /// Whether a JSON text, or one member of the object in it, contains the object.
    pub(super) fn is_in(&self, text: Option<&str>, member: Option<&str>) -> bool {
        let Some(text) = text else { return false };
        let root = 1 << (self.wanted.len() - 1);
        let mut found = 0;
        walk(text, member, Look { containment: self, candidates: root, found: &mut found });
        found == root
    }

    /// Those of some numbers whose value passes.
    fn those(&self, candidates: Numbers, passes: impl Fn(&Wanted) -> bool) -> Numbers {
        let numbered = self.wanted.iter().enumerate().map(|(number, wanted)| (1 << number, wanted));
        union(numbered.filter(|(number, wanted)| candidates & number != 0 && passes(wanted)).map(|(number, _)| number))
    }

    /// What is wanted at a key of an object that may be one of the candidates.
    fn at_key(&self, candidates: Numbers, key: &str) -> Numbers {
        let numbered = self.wanted.iter().enumerate().filter(|(number, _)| candidates & (1 << number) != 0);
        union(numbered.flat_map(|(_, wanted)| {
            match wanted {
                Wanted::Object { members, .. } => members.as_slice(),
                _ => &[],
            }
            .iter()
            .filter(|(wanted, _)| wanted == key)
            .map(|(_, number)| *number)
        }))
    }

    fn in_arrays(&self, candidates: Numbers) -> Numbers {
        let numbered = self.wanted.iter().enumerate().filter(|(number, _)| candidates & (1 << number) != 0);
        union(numbered.map(|(_, wanted)| if let Wanted::Array { all } = wanted { *all } else { 0 }))
    }
}

fn union(numbers: impl IntoIterator<Item = Numbers>) -> Numbers {
    numbers.into_iter().fold(0, |union, number| union | number)
}

/// Integers are equal exactly, others as far as a float goes.
fn is_same(one: &Number, other: &Number) -> bool {
    if one.is_f64() || other.is_f64() { one.as_f64() == other.as_f64() } else { one == other }
}

/// Adds to `found` the candidates that a value of the document contains.
struct Look<'l> {
    containment: &'l Containment,
    candidates: Numbers,
    found: &'l mut Numbers,
}

impl Look<'_> {
    fn find(self, passes: impl Fn(&Wanted) -> bool) {
        *self.found |= self.containment.those(self.candidates, passes);
    }

    fn find_number(self, number: Number) {
        self.find(|wanted| matches!(wanted, Wanted::Number(wanted) if is_same(wanted, &number)));
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.candidates == 0 {
            // Skipping does not recurse; candidates are nested no deeper than the wanted object.
            return deserializer.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.find(|wanted| matches!(wanted, Wanted::Text(wanted) if wanted == text));
        Ok(())
    }

    fn visit_bool<E: Error>(self, is_true: bool) -> Result<(), E> {
        self.find(|wanted| *wanted == Wanted::Bool(is_true));
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.find_number(number.into());
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.find_number(number.into());
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if let Some(number) = Number::from_f64(number) {
            self.find_number(number);
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.find(|wanted| *wanted == Wanted::Null);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (containment, candidates) = (self.containment, self.candidates);
        let mut inside = 0;
        while let Some(wanted) = map.next_key_seed(WithKey(|key: &str| containment.at_key(candidates, key)))? {
            map.next_value_seed(Look { containment, candidates: wanted, found: &mut inside })?;
        }
        self.find(|wanted| matches!(wanted, Wanted::Object { all, .. } if all & inside == *all));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let (containment, candidates) = (self.containment, self.containment.in_arrays(self.candidates));
        let mut inside = 0;
        while elements.next_element_seed(Look { containment, candidates, found: &mut inside })?.is_some() {}
        self.find(|wanted| matches!(wanted, Wanted::Array { all } if all & inside == *all));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
