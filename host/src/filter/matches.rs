//! Whether a condition holds for a run. Allocates nothing of its own; recursion goes as deep as the parser allows.

use crate::filter::condition::{Condition, EntryTest, FeedbackTest};
use crate::filter::facts::Facts;
use crate::filter::field::Part;
use crate::filter::test::Sided;
use crate::model::run::Feedback;

pub(super) fn holds(condition: &Condition, facts: &Facts<'_>) -> bool {
    match condition {
        Condition::All(operands) => operands.iter().all(|operand| holds(operand, facts)),
        Condition::Any(operands) => operands.iter().any(|operand| holds(operand, facts)),
        Condition::Not(inside) => !holds(inside, facts),
        Condition::Id(field, test) => test.holds(facts.id(*field)),
        Condition::Text(field, test) => test.holds(facts.text(*field)),
        Condition::Time(field, test) => test.holds(facts.time(*field)),
        Condition::Number(field, test) => test.holds(facts.number(*field)),
        Condition::Status(test) => test.holds_by(Some(facts.status()), |found, wanted| same(found == wanted)),
        Condition::IsRoot(test) => test.holds(Some(facts.is_root())),
        Condition::SomeTag(test) => facts.tags().iter().any(|tag| test.holds(Some(tag))),
        Condition::SomeEntry(family, tests) => facts.entries(*family).iter().any(|entry| is_entry(entry, tests)),
        Condition::SomeFeedback(tests) => facts.feedback().any(|feedback| is_feedback(feedback, tests, facts)),
        Condition::HasPath(family, path) => facts.entries(*family).has_path(path),
        Condition::Contains(family, containment) => {
            let (text, member) = facts.document(*family);
            containment.is_in(text, member)
        }
        Condition::Search(families, words) => words.are_all_known(families.iter().map(|family| facts.words(*family))),
    }
}

fn same(is_same: bool) -> Option<std::cmp::Ordering> {
    is_same.then_some(std::cmp::Ordering::Equal)
}

fn is_entry((key, value): (&str, Option<&str>), tests: &[Sided<EntryTest>]) -> bool {
    tests.iter().all(|sided| {
        let part = match sided.test.part {
            Part::Key => Some(key),
            Part::Value => value,
        };
        sided.test.test.holds(part) != sided.is_negated
    })
}

fn is_feedback((place, feedback): (usize, &Feedback), tests: &[Sided<FeedbackTest>], facts: &Facts<'_>) -> bool {
    tests.iter().all(|sided| {
        let passes = match &sided.test {
            FeedbackTest::Score(test) => test.holds(feedback.score),
            FeedbackTest::Text(part, test) => test.holds(facts.feedback_text(place, *part)),
        };
        passes != sided.is_negated
    })
}
