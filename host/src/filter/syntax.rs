//! A filter as written, before its fields and literals are looked at: what both forms of the language come to.

/// An expression; calls carry their places, in bytes from the start of the filter.
#[derive(Debug)]
pub(super) enum Expression {
    /// `and`, with one operand or more.
    All(Vec<Expression>),
    /// `or`, with one operand or more.
    Any(Vec<Expression>),
    /// `not`.
    Not(Box<Expression>),
    /// Everything else.
    Call(Call),
}

/// A function of fields and literals; `a < 1` is the call `lt(a, 1)`.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) at: usize,
    pub(super) arguments: Vec<Argument>,
}

/// A field, a literal or a list.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) at: usize,
    pub(super) value: Literal,
}

/// What an argument can be. A field is a word or a text.
#[derive(Debug)]
pub(super) enum Literal {
    Word(String),
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    List(Vec<Argument>),
}

/// The functions of fields and literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Like,
    Notlike,
    Exists,
    Has,
    Search,
}

const FUNCTIONS: &[(&str, Function)] = &[
    ("eq", Function::Eq),
    ("neq", Function::Neq),
    ("gt", Function::Gt),
    ("gte", Function::Gte),
    ("lt", Function::Lt),
    ("lte", Function::Lte),
    ("in", Function::In),
    ("like", Function::Like),
    ("notlike", Function::Notlike),
    ("exists", Function::Exists),
    ("has", Function::Has),
    ("search", Function::Search),
];

impl Function {
    /// By its name, capitals or not.
    pub(super) fn find(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, function)| *function)
    }

    pub(super) fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }

    /// The names that can stand before a parenthesis.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        ["and", "or", "not"].into_iter().chain(FUNCTIONS.iter().map(|(name, _)| *name))
    }
}
