//! From an expression to a condition: how `and`, `or` and `not` put conditions together.

use crate::filter::call::{Operand, operand_of_call};
use crate::filter::condition::{Condition, EntryTest, FeedbackTest};
use crate::filter::error::Fault;
use crate::filter::field::Family;
use crate::filter::syntax::Expression;
use crate::filter::test::Sided;

/// Checks an expression; recursion goes as deep as the parser lets expressions be.
pub(super) fn condition(expression: &Expression) -> Result<Condition, Fault> {
    Ok(alone(operand(expression)?))
}

fn operand(expression: &Expression) -> Result<Operand, Fault> {
    match expression {
        Expression::Call(call) => operand_of_call(call),
        Expression::Not(inside) => Ok(negated(operand(inside)?)),
        Expression::All(operands) => {
            let operands = operands.iter().map(operand).collect::<Result<Vec<_>, _>>()?;
            Ok(Operand::Whole(joined(paired(operands), Condition::All)))
        }
        Expression::Any(operands) => {
            let operands = operands.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
            Ok(Operand::Whole(joined(operands, Condition::Any)))
        }
    }
}

fn negated(operand: Operand) -> Operand {
    match operand {
        Operand::Entry(family, test) => Operand::Entry(family, test.negated()),
        Operand::Feedback(test) => Operand::Feedback(test.negated()),
        Operand::Whole(condition) => Operand::Whole(condition.negated()),
    }
}

/// What an operand means where it is not part of an `and`.
fn alone(operand: Operand) -> Condition {
    match operand {
        Operand::Entry(family, test) => about_all(test, |tests| Condition::SomeEntry(family, tests)),
        Operand::Feedback(test) => about_all(test, Condition::SomeFeedback),
        Operand::Whole(condition) => condition,
    }
}

/// The operands of one `and`, those of one family put together.
fn paired(operands: Vec<Operand>) -> Vec<Condition> {
    let mut entries: [Vec<Sided<EntryTest>>; 3] = Default::default();
    let [metadata, inputs, outputs] = &mut entries;
    let mut feedback: Vec<Sided<FeedbackTest>> = Vec::new();
    let mut conditions = Vec::new();
    for operand in operands {
        match operand {
            Operand::Entry(Family::Metadata, test) => metadata.push(test),
            Operand::Entry(Family::Inputs, test) => inputs.push(test),
            Operand::Entry(Family::Outputs, test) => outputs.push(test),
            Operand::Feedback(test) => feedback.push(test),
            Operand::Whole(condition) => conditions.push(condition),
        }
    }
    // Last what costs most: the run's own fields decide before any JSON is read.
    conditions.extend(about_one(feedback, Condition::SomeFeedback));
    for (family, tests) in [Family::Metadata, Family::Inputs, Family::Outputs].into_iter().zip(entries) {
        conditions.extend(about_one(tests, |tests| Condition::SomeEntry(family, tests)));
    }
    conditions
}

/// Tests of one and the same entry; without a positive one there is none to speak of, and each is about all entries.
fn about_one<T>(tests: Vec<Sided<T>>, some: impl Fn(Box<[Sided<T>]>) -> Condition) -> Vec<Condition> {
    if tests.iter().any(|test| !test.is_negated) {
        return vec![some(tests.into())];
    }
    tests.into_iter().map(|test| about_all(test, &some)).collect()
}

/// Some entry passes or, of a negated test, none passes what it negates.
fn about_all<T>(test: Sided<T>, some: impl Fn(Box<[Sided<T>]>) -> Condition) -> Condition {
    let is_negated = test.is_negated;
    let positive = some(Box::new([Sided { is_negated: false, ..test }]));
    if is_negated { positive.negated() } else { positive }
}

fn joined(mut conditions: Vec<Condition>, many: fn(Box<[Condition]>) -> Condition) -> Condition {
    match conditions.pop() {
        Some(only) if conditions.is_empty() => only,
        last => many(conditions.into_iter().chain(last).collect()),
    }
}
