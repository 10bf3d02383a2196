//! From a call to a test: which functions apply to which fields, and with what literals.

use crate::filter::condition::{Condition, EntryTest, FeedbackTest};
use crate::filter::contain::Containment;
use crate::filter::error::Fault;
use crate::filter::field::{Family, FeedbackPart, Field, NumberField, Part, TextField};
use crate::filter::like::Pattern;
use crate::filter::literal;
use crate::filter::syntax::{Argument, Call, Function, Literal};
use crate::filter::test::{Order, Scalar, Sided, Test, TextTest};
use crate::filter::words::Words;
use crate::filter::{CONTAINMENT_VALUES_MAX, PATTERN_CHARS_MAX, SEARCH_WORDS_MAX};

/// What a call comes to: a test that an `and` pairs with others of its family, or a condition by itself.
#[derive(Debug)]
pub(super) enum Operand {
    Entry(Family, Sided<EntryTest>),
    Feedback(Sided<FeedbackTest>),
    Whole(Condition),
}

pub(super) fn operand_of_call(call: &Call) -> Result<Operand, Fault> {
    let (name, argument) = match (call.function, call.arguments.as_slice()) {
        (Function::Search, [words]) => {
            let words = words_of(words, "search")?;
            return Ok(Operand::Whole(Condition::Search([Family::Inputs, Family::Outputs].into(), words)));
        }
        (_, [field, argument]) => (field, argument),
        (_, arguments) => return Err(wrong_count(call, arguments.len())),
    };
    let (Literal::Word(field) | Literal::Text(field)) = &name.value else {
        return Err(Fault::new(name.at, format!("`{}` needs a field first", call.function.name())));
    };
    Comparison { function: call.function, at: call.at, name: field, field: Field::find(name.at, field)?, argument }
        .operand()
}

fn wrong_count(call: &Call, count: usize) -> Fault {
    let name = call.function.name();
    let hint = match call.function {
        Function::Search => "write search(\"words\") or search(name, \"words\")",
        Function::In => "write in(name, [\"a\", \"b\"])",
        Function::Exists => "write exists(metadata, \"key\")",
        _ => "it takes a field and a literal",
    };
    Fault::new(call.at, format!("`{name}` has {count} argument{}", if count == 1 { "" } else { "s" })).hint(hint)
}

/// A function of a field and a literal.
struct Comparison<'c> {
    function: Function,
    at: usize,
    /// As written.
    name: &'c str,
    field: Field,
    argument: &'c Argument,
}

impl Comparison<'_> {
    fn operand(&self) -> Result<Operand, Fault> {
        self.check_function()?;
        let whole = match self.field {
            Field::Entry(family, part) => {
                let test = self.text_test(literal::scalar)?;
                return Ok(Operand::Entry(family, test.map(|test| EntryTest { part, test })));
            }
            Field::Feedback(part) => return Ok(Operand::Feedback(self.feedback(part)?)),
            Field::Document(family) => return self.document(family),
            Field::Id(field) => self.test(literal::uuid)?.map(|test| Condition::Id(field, test)),
            Field::Time(field) => self.test(literal::time)?.map(|test| Condition::Time(field, test)),
            Field::Number(field) => self.test(number_reader(field))?.map(|test| Condition::Number(field, test)),
            Field::Status => self.test(literal::status)?.map(Condition::Status),
            Field::IsRoot => self.test(literal::boolean)?.map(Condition::IsRoot),
            Field::Text(field) => self.text_test(text_reader(field))?.map(|test| Condition::Text(field, test)),
            Field::Tags => self.text_test(plain_text)?.map(Condition::SomeTag),
        };
        Ok(Operand::Whole(if whole.is_negated { whole.test.negated() } else { whole.test }))
    }

    fn check_function(&self) -> Result<(), Fault> {
        let (name, field) = (self.function.name(), self.name);
        if self.field == Field::Text(TextField::Error)
            && self.function == Function::Neq
            && matches!(self.argument.value, Literal::Null)
        {
            return Err(Fault::new(self.at, "neq(error, null) is not supported").hint("write eq(status, \"error\")"));
        }
        let known = self.field.functions();
        if known.contains(&self.function) {
            return Ok(());
        }
        let names: Vec<_> = known.iter().map(|function| function.name()).collect();
        Err(Fault::new(self.at, format!("`{name}` does not apply to `{field}`"))
            .hint(format!("it takes {}", names.join(", "))))
    }

    fn feedback(&self, part: FeedbackPart) -> Result<Sided<FeedbackTest>, Fault> {
        Ok(match part {
            FeedbackPart::Score => self.test(literal::number)?.map(FeedbackTest::Score),
            part => self.text_test(literal::scalar)?.map(|test| FeedbackTest::Text(part, test)),
        })
    }

    fn document(&self, family: Family) -> Result<Operand, Fault> {
        Ok(Operand::Whole(match self.function {
            Function::Exists => Condition::HasPath(family, literal::text(self.argument, self.name)?),
            Function::Search => Condition::Search([family].into(), words_of(self.argument, self.name)?),
            Function::Has => Condition::Contains(family, self.containment()?),
            _ => {
                let like = self.text_test(literal::scalar)?;
                let test = EntryTest { part: Part::Value, test: like.test };
                let some = Condition::SomeEntry(family, Box::new([Sided { test, is_negated: false }]));
                if like.is_negated { some.negated() } else { some }
            }
        }))
    }

    fn containment(&self) -> Result<Containment, Fault> {
        let text = literal::text(self.argument, self.name)?;
        Containment::new(&text).ok_or_else(|| {
            Fault::new(self.argument.at, format!("`has` of `{}` needs a JSON object", self.name)).hint(format!(
                "write '{{\"key\": \"value\"}}', with at most {CONTAINMENT_VALUES_MAX} values, or exists({}, \"key\")",
                self.name
            ))
        })
    }

    fn text_test(&self, read: impl Fn(&Argument, &str) -> Result<Scalar, Fault>) -> Result<Sided<TextTest>, Fault> {
        let test = match self.function {
            Function::Like | Function::Notlike => TextTest::Like(self.pattern()?),
            Function::Search => TextTest::Words(words_of(self.argument, self.name)?),
            _ => return Ok(self.test(read)?.map(TextTest::Value)),
        };
        Ok(Sided { test, is_negated: self.function == Function::Notlike })
    }

    fn pattern(&self) -> Result<Pattern, Fault> {
        let text = literal::text(self.argument, self.name)?;
        let text = if self.field == Field::Text(TextField::RunType) { text.to_lowercase() } else { text };
        Pattern::new(&text).ok_or_else(|| {
            Fault::new(self.argument.at, format!("the pattern has more than {PATTERN_CHARS_MAX} characters"))
        })
    }

    fn test<T>(&self, read: impl Fn(&Argument, &str) -> Result<T, Fault>) -> Result<Sided<Test<T>>, Fault> {
        let one = || read(self.argument, self.name);
        let is_null = matches!(self.argument.value, Literal::Null);
        let (test, is_negated) = match self.function {
            Function::Eq if is_null => (Test::IsPresent, true),
            Function::Neq if is_null => (Test::IsPresent, false),
            Function::Neq => (Test::OneOf([one()?].into()), true),
            Function::In => (Test::OneOf(self.members(read)?), false),
            Function::Gt => (Test::Ordered(Order::Gt, one()?), false),
            Function::Gte => (Test::Ordered(Order::Gte, one()?), false),
            Function::Lt => (Test::Ordered(Order::Lt, one()?), false),
            Function::Lte => (Test::Ordered(Order::Lte, one()?), false),
            _ => (Test::OneOf([one()?].into()), false),
        };
        Ok(Sided { test, is_negated })
    }

    fn members<T>(&self, read: impl Fn(&Argument, &str) -> Result<T, Fault>) -> Result<Box<[T]>, Fault> {
        match &self.argument.value {
            Literal::List(members) if !members.is_empty() => {
                members.iter().map(|member| read(member, self.name)).collect()
            }
            Literal::List(_) => Err(Fault::new(self.argument.at, "nothing is in an empty list")),
            _ => Err(Fault::new(self.argument.at, "`in` needs a list, such as [\"a\", \"b\"]")),
        }
    }
}

fn words_of(argument: &Argument, field: &str) -> Result<Words, Fault> {
    let words = Words::new(&literal::text(argument, field)?).ok_or_else(|| {
        Fault::new(argument.at, "there is no word to search for")
            .hint("words have two letters or digits at least and are not as common as `the`")
    })?;
    if words.len() > SEARCH_WORDS_MAX {
        return Err(Fault::new(argument.at, format!("the search has more than {SEARCH_WORDS_MAX} words")));
    }
    Ok(words)
}

type ReadNumber = fn(&Argument, &str) -> Result<f64, Fault>;
type ReadScalar = fn(&Argument, &str) -> Result<Scalar, Fault>;

fn number_reader(field: NumberField) -> ReadNumber {
    match field {
        NumberField::Latency | NumberField::FirstTokenLatency => literal::seconds,
        _ => literal::number,
    }
}

fn text_reader(field: TextField) -> ReadScalar {
    match field {
        TextField::RunType => |argument, field| literal::lower_text(argument, field).map(Scalar::Text),
        TextField::Thread => literal::scalar,
        _ => plain_text,
    }
}

fn plain_text(argument: &Argument, field: &str) -> Result<Scalar, Fault> {
    literal::text(argument, field).map(Scalar::Text)
}
