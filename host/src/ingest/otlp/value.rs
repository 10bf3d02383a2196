//! Values of attributes and the JSON that is made of them: one type for both. Knows nothing of spans.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{NESTING_MAX, VALUES_MAX};

/// A map of attributes, or a JSON object. Sorted, so that a family of keys is a range; of twins the last is left.
pub(super) type Object<'a> = BTreeMap<Cow<'a, str>, Value<'a>>;

/// An OTLP `AnyValue`, or JSON text out of one. What a decoder makes nests [`NESTING_MAX`] deep at most.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// NaN and the infinities are written as proto3's JSON mapping has them: as text.
    Double(f64),
    /// Text; of bytes, their base64 form.
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
    /// JSON text that was checked.
    Raw(Box<RawValue>),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// The text of a value that is text and not empty.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A count: an integer, or what other encoders make of one.
    pub(super) fn as_count(&self) -> Option<u64> {
        match self {
            Self::Int(count) => u64::try_from(*count).ok(),
            Self::Double(count) if count.fract() == 0.0 && (0.0..9e15).contains(count) => Some(*count as u64),
            Self::Text(count) => count.parse().ok(),
            _ => None,
        }
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::List(values) => values.is_empty(),
            Self::Object(object) => object.is_empty(),
            _ => false,
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Double(value) if value.is_nan() => serializer.serialize_str("NaN"),
            Self::Double(value) if value.is_infinite() && *value > 0.0 => serializer.serialize_str("Infinity"),
            Self::Double(value) if value.is_infinite() => serializer.serialize_str("-Infinity"),
            Self::Double(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => values.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
            Self::Raw(raw) => raw.serialize(serializer),
        }
    }
}

/// An object of the given members, without those that are absent.
pub(super) fn object<'a, const N: usize>(members: [(&'static str, Option<Value<'a>>); N]) -> Value<'a> {
    let present = members.into_iter().filter_map(|(key, value)| Some((Cow::Borrowed(key), value?)));
    Value::Object(present.collect())
}

/// How many values may still be decoded, and how deep. One for each span, resource and scope.
#[derive(Debug)]
pub(super) struct Budget {
    values_left: usize,
    levels_left: usize,
}

/// Which bound was broken, as the end of a sentence that begins with what has the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Values,
    Nesting,
}

impl Exceeded {
    pub(super) fn problem(self) -> String {
        match self {
            Self::Values => format!("hold more than {VALUES_MAX} values"),
            Self::Nesting => format!("nest more than {NESTING_MAX} levels deep"),
        }
    }
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { values_left: VALUES_MAX, levels_left: NESTING_MAX }
    }

    /// Counts a value.
    pub(super) fn value(&mut self) -> Result<(), Exceeded> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Exceeded::Values)?;
        Ok(())
    }

    /// Does what is one level deeper.
    pub(super) fn deeper<T, E: From<Exceeded>>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.levels_left = self.levels_left.checked_sub(1).ok_or(Exceeded::Nesting)?;
        let done = inside(self);
        self.levels_left += 1;
        done
    }
}
