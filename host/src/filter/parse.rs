//! From tokens to an expression, in either form: calls (`and(eq(a, 1), lt(b, 2))`) and infix (`a = 1 and b < 2`).
//!
//! Does not know which fields there are.

use crate::filter::cursor::{Cursor, is_word};
use crate::filter::error::{Fault, shown};
use crate::filter::syntax::{Argument, Call, Expression, Function, Literal};
use crate::filter::token::{Kind, tokens};
use crate::nearest::nearest;

/// Reads a filter.
pub(super) fn parse(source: &str) -> Result<Expression, Fault> {
    let mut parser = Cursor::new(tokens(source)?);
    if parser.peek() == &Kind::End {
        return Err(Fault::new(0, "the filter is empty").hint("write a condition, such as eq(status, \"error\")"));
    }
    let expression = parser.disjunction()?;
    if parser.peek() != &Kind::End {
        return Err(parser.unexpected("the filter to end, `and` or `or`"));
    }
    Ok(expression)
}

/// The grammar.
impl Cursor {
    fn disjunction(&mut self) -> Result<Expression, Fault> {
        let mut operands = vec![self.conjunction()?];
        while self.take_word("or") {
            operands.push(self.conjunction()?);
        }
        Ok(single_or(operands, Expression::Any))
    }

    fn conjunction(&mut self) -> Result<Expression, Fault> {
        let mut operands = vec![self.term()?];
        while self.take_word("and") {
            operands.push(self.term()?);
        }
        Ok(single_or(operands, Expression::All))
    }

    fn term(&mut self) -> Result<Expression, Fault> {
        if is_word(self.peek(), "not") {
            self.count_call()?;
            self.advance(1);
            let negated = self.nested(Self::term)?;
            return Ok(Expression::Not(Box::new(negated)));
        }
        match (self.peek(), self.peek_second()) {
            (Kind::Open, _) => self.nested(Self::group),
            (Kind::Word(name), Kind::Open) => {
                let name = name.clone();
                self.nested(|parser| parser.call(&name))
            }
            (Kind::Word(_) | Kind::Text(_), _) => self.comparison(),
            _ => Err(self.unexpected("a condition, such as eq(status, \"error\")")),
        }
    }

    fn group(&mut self) -> Result<Expression, Fault> {
        self.advance(1);
        let inside = self.disjunction()?;
        self.take(&Kind::Comma);
        self.expect(&Kind::Close, "`)`, `and` or `or`")?;
        Ok(inside)
    }

    fn call(&mut self, name: &str) -> Result<Expression, Fault> {
        self.count_call()?;
        let at = self.at();
        self.advance(2);
        if name.eq_ignore_ascii_case("and") {
            return Ok(Expression::All(self.operands(at, "and")?));
        }
        if name.eq_ignore_ascii_case("or") {
            return Ok(Expression::Any(self.operands(at, "or")?));
        }
        let function = Function::find(name).ok_or_else(|| no_function(at, name))?;
        let arguments = self.list(&Kind::Close, "`,` or `)`", Self::argument)?;
        Ok(Expression::Call(Call { function, at, arguments }))
    }

    fn operands(&mut self, at: usize, name: &str) -> Result<Vec<Expression>, Fault> {
        let operands = self.list(&Kind::Close, "`,` or `)`", Self::disjunction)?;
        if operands.is_empty() {
            return Err(Fault::new(at, format!("`{name}` has no operands")).hint("give it at least one condition"));
        }
        Ok(operands)
    }

    /// `field < literal`.
    fn comparison(&mut self) -> Result<Expression, Fault> {
        self.count_call()?;
        let field = self.argument()?;
        let at = self.at();
        let Some(function) = self.operator() else {
            let expected = "a comparison, such as `= \"error\"`, `< 0.5` or `in [\"a\", \"b\"]`";
            return Err(self.unexpected(expected));
        };
        let literal = self.argument()?;
        Ok(Expression::Call(Call { function, at, arguments: vec![field, literal] }))
    }

    fn operator(&mut self) -> Option<Function> {
        let function = match self.peek() {
            Kind::Operator(function) => *function,
            kind if is_word(kind, "in") => Function::In,
            kind if is_word(kind, "like") => Function::Like,
            kind if is_word(kind, "notlike") => Function::Notlike,
            _ => return None,
        };
        self.advance(1);
        Some(function)
    }

    fn argument(&mut self) -> Result<Argument, Fault> {
        let at = self.at();
        let value = match self.peek() {
            Kind::OpenList => {
                self.advance(1);
                return Ok(Argument {
                    at,
                    value: Literal::List(self.list(&Kind::CloseList, "`,` or `]`", Self::scalar)?),
                });
            }
            Kind::Word(word) => word_literal(word),
            Kind::Text(text) => Literal::Text(text.clone()),
            Kind::Number(number) => Literal::Number(*number),
            _ => return Err(self.unexpected("a field, a text in quotes, a number, true, false, null or a list")),
        };
        self.advance(1);
        Ok(Argument { at, value })
    }

    fn scalar(&mut self) -> Result<Argument, Fault> {
        if self.peek() == &Kind::OpenList {
            return Err(self.unexpected("a text in quotes, a number, true or false"));
        }
        self.argument()
    }
}

fn single_or(mut operands: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match operands.pop() {
        Some(only) if operands.is_empty() => only,
        last => many(operands.into_iter().chain(last).collect()),
    }
}

fn word_literal(word: &str) -> Literal {
    match word {
        "true" | "True" => Literal::Bool(true),
        "false" | "False" => Literal::Bool(false),
        "null" | "None" => Literal::Null,
        _ => Literal::Word(word.to_owned()),
    }
}

fn no_function(at: usize, name: &str) -> Fault {
    let hint = match nearest(name, Function::names()) {
        Some(best) => format!("did you mean `{best}`?"),
        None => format!("there are {}", Function::names().collect::<Vec<_>>().join(", ")),
    };
    Fault::new(at, format!("there is no function `{}`", shown(name))).hint(hint)
}
