//! A walk over the tokens of a filter that looks one ahead, keeps the bounds and says what it did not expect.

use crate::filter::error::{Fault, shown};
use crate::filter::token::{Kind, Token};
use crate::filter::{CALLS_MAX, NESTING_MAX};

/// A place in the tokens of a filter.
pub(super) struct Cursor {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    calls: usize,
}

impl Cursor {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, next: 0, depth: 0, calls: 0 }
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.next += count;
    }

    pub(super) fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    pub(super) fn peek_second(&self) -> &Kind {
        self.tokens.get(self.next + 1).map_or(&Kind::End, |token| &token.kind)
    }

    pub(super) fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    pub(super) fn take(&mut self, kind: &Kind) -> bool {
        let is_there = self.peek() == kind;
        self.next += usize::from(is_there);
        is_there
    }

    /// Takes an operator that is written as a word.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_there = is_word(self.peek(), word);
        self.next += usize::from(is_there);
        is_there
    }

    pub(super) fn expect(&mut self, kind: &Kind, expected: &str) -> Result<(), Fault> {
        if self.take(kind) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn unexpected(&self, expected: &str) -> Fault {
        let found = match self.peek() {
            Kind::Word(word) => format!("`{}`", shown(word)),
            Kind::Text(_) => "text".to_owned(),
            Kind::Number(number) => format!("`{number}`"),
            Kind::Operator(_) => "operator".to_owned(),
            Kind::Open => "`(`".to_owned(),
            Kind::Close => "`)`".to_owned(),
            Kind::OpenList => "`[`".to_owned(),
            Kind::CloseList => "`]`".to_owned(),
            Kind::Comma => "`,`".to_owned(),
            Kind::End => return Fault::new(self.at(), "the filter stops").hint(format!("expected {expected}")),
        };
        Fault::new(self.at(), format!("unexpected {found}")).hint(format!("expected {expected}"))
    }

    /// Runs one level deeper: recursion goes no further than `NESTING_MAX`.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == NESTING_MAX {
            return Err(Fault::new(self.at(), format!("the filter is nested more than {NESTING_MAX} levels deep")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    pub(super) fn count_call(&mut self) -> Result<(), Fault> {
        self.calls += 1;
        if self.calls > CALLS_MAX {
            return Err(Fault::new(self.at(), format!("the filter has more than {CALLS_MAX} calls")));
        }
        Ok(())
    }

    /// Elements and commas up to `close`; a comma may stand before it.
    pub(super) fn list<T>(
        &mut self,
        close: &Kind,
        expected: &str,
        mut element: impl FnMut(&mut Self) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut elements = Vec::new();
        while !self.take(close) {
            elements.push(element(self)?);
            if !self.take(&Kind::Comma) {
                self.expect(close, expected)?;
                break;
            }
        }
        Ok(elements)
    }
}

/// Whether it is an operator that is written as a word, capitals or not.
pub(super) fn is_word(kind: &Kind, word: &str) -> bool {
    matches!(kind, Kind::Word(found) if found.eq_ignore_ascii_case(word))
}
