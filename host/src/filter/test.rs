//! What one value is put to. Absent values pass no test; whoever negates a test negates that too.

use std::cmp::Ordering;

use crate::filter::like::Pattern;
use crate::filter::words::Words;

/// A test of values of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test<T> {
    IsPresent,
    /// `eq` with one, `in` with several.
    OneOf(Box<[T]>),
    Ordered(Order, T),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Gt,
    Gte,
    Lt,
    Lte,
}

/// A test of text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TextTest {
    Value(Test<Scalar>),
    Like(Pattern),
    Words(Words),
}

/// What text is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Number(f64),
}

/// A test, or its opposite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sided<T> {
    pub(super) test: T,
    pub(super) is_negated: bool,
}

impl<T> Sided<T> {
    pub(super) fn negated(self) -> Self {
        Self { is_negated: !self.is_negated, ..self }
    }

    pub(super) fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Sided<U> {
        Sided { test: wrap(self.test), is_negated: self.is_negated }
    }
}

impl<T> Test<T> {
    /// Whether a value passes; `compare` sets a value against a literal.
    pub(super) fn holds_by<V>(&self, value: Option<V>, compare: impl Fn(&V, &T) -> Option<Ordering>) -> bool {
        let Some(value) = value else { return false };
        match self {
            Self::IsPresent => true,
            Self::OneOf(literals) => literals.iter().any(|literal| compare(&value, literal) == Some(Ordering::Equal)),
            Self::Ordered(order, literal) => compare(&value, literal).is_some_and(|found| order.admits(found)),
        }
    }
}

impl<T: PartialOrd> Test<T> {
    pub(super) fn holds(&self, value: Option<T>) -> bool {
        self.holds_by(value, T::partial_cmp)
    }
}

impl TextTest {
    pub(super) fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Value(test) => test.holds_by(value, |value, literal| literal.compared_by(value)),
            Self::Like(pattern) => value.is_some_and(|text| pattern.matches(text)),
            Self::Words(words) => value.is_some_and(|text| words.are_all_in(text)),
        }
    }
}

impl Scalar {
    /// How a value stands to it: as a number to a number, if the value reads as one, as text to a text.
    fn compared_by(&self, value: &str) -> Option<Ordering> {
        match self {
            Self::Text(literal) => Some(value.cmp(literal.as_str())),
            Self::Number(literal) => number(value)?.partial_cmp(literal),
        }
    }
}

/// Text that is a finite number and nothing else.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

impl Order {
    fn admits(self, found: Ordering) -> bool {
        match self {
            Self::Gt => found.is_gt(),
            Self::Gte => found.is_ge(),
            Self::Lt => found.is_lt(),
            Self::Lte => found.is_le(),
        }
    }
}
