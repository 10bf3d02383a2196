//! Which runs a rule is about: LangSmith's filter query language, read once and put to many runs. Pure.
//!
//! Knows a run and its feedback, and neither rules nor the store. The language is described at [`Filter`].

mod call;
mod check;
mod condition;
mod contain;
mod cursor;
mod entries;
mod error;
mod facts;
mod field;
mod json;
mod like;
mod literal;
mod matches;
mod parse;
mod syntax;
mod test;
#[cfg(test)]
mod tests;
mod token;
mod words;

use std::fmt;
use std::sync::Arc;

pub use crate::filter::error::FilterError;
pub use crate::filter::facts::Facts;

use crate::filter::condition::Condition;
use crate::filter::error::Fault;

/// Longest filter, in bytes. A rule's filter has some hundred; this leaves room for long `in` lists.
pub const SOURCE_BYTES_MAX: usize = 16 * 1024;
/// How deep calls and parentheses are nested: what recursion over a filter is bounded by.
pub const NESTING_MAX: usize = 64;
/// Calls of one filter, infix comparisons among them.
pub const CALLS_MAX: usize = 512;
/// Longest pattern of `like`, in characters: a search with `_` takes this many steps for each character of the text.
pub const PATTERN_CHARS_MAX: usize = 250;
/// Words of one search: each is looked for in all of a text.
pub const SEARCH_WORDS_MAX: usize = 32;
/// Values in the JSON of `has`, itself included: the bits of the set that one walk carries.
pub const CONTAINMENT_VALUES_MAX: usize = 64;
/// What is known of a value in metadata, inputs, outputs and feedback, in characters (LangSmith's bound).
pub const VALUE_CHARS_MAX: usize = 250;
/// Keys known of each of metadata, inputs and outputs, the first in the document (LangSmith's bound).
pub const KEYS_MAX: usize = 100;
/// Entries known of each; arrays have many under one key.
pub const ENTRIES_MAX: usize = 1000;
/// Longest key that is known, dots included, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// How deep objects and arrays are looked into; below it a key has no value. Less than half of what the JSON parser takes.
pub const LEVELS_MAX: usize = 60;

/// A filter, parsed and checked once. Cloning shares it.
///
/// # The language
///
/// A condition is a call, `eq(status, "error")`, or written between its sides, `status = "error"`. Both forms mix.
///
/// | call | between | holds if |
/// |---|---|---|
/// | `and(a, b, …)` | `a and b` | all hold |
/// | `or(a, b, …)` | `a or b` | one holds; `and` binds tighter |
/// | `not(a)` | `not a` | `a` does not hold; binds tightest |
/// | `eq(f, x)`, `neq(f, x)` | `=` or `==`, `!=` | the field is, is not `x` |
/// | `gt`, `gte`, `lt`, `lte` | `>`, `>=`, `<`, `<=` | numbers, durations and times by size, text by its order |
/// | `in(f, [x, y])` | `f in [x, y]` | it is one of them |
/// | `like(f, "a%")`, `notlike` | `f like "a%"`, `f notlike "a%"` | `%` is any text, `_` any character, `\` takes them literally; capitals count |
/// | `has(tags, "x")` | | it is one of the tags; with `metadata_key`, `input_key`, `output_key` and `feedback_key` the same as `eq` |
/// | `has(metadata, '{"k": "v"}')` | | the JSON contains this object; also `inputs`, `outputs` |
/// | `exists(metadata, "a.b")` | | there is something at the dotted path; also `inputs`, `outputs` |
/// | `search("two words")` | | all words are in the values of inputs and outputs |
/// | `search(f, "two words")` | | all words are in the field |
///
/// Literals are texts in `"…"` or `'…'` with backslash escapes, numbers, `true`, `false`, `null` (`True`, `False`, `None`).
/// A list or a call may end in a comma. Names of functions may be in capitals. A field may be in quotes.
///
/// # Fields
///
/// | fields | compared with |
/// |---|---|
/// | `id`, `trace_id`, `parent_run_id`, `session_id` (the project), `reference_example_id` | a UUID |
/// | `name`, `error`, `dotted_order`, `thread_id` | a text |
/// | `run_type` | a text; capitals do not count |
/// | `status` | `"success"`, `"error"`, `"pending"`; capitals do not count |
/// | `is_root` | `true`, `false` |
/// | `start_time`, `end_time` | a time, `"2026-07-01T09:00:00Z"`; without a zone UTC |
/// | `latency`, `first_token_latency` | seconds, `1.5`, or `"500ms"`, `"5s"`, `"1.5m"`, `"2h"` |
/// | `total_tokens`, `prompt_tokens`, `completion_tokens` | a number |
/// | `total_cost`, `prompt_cost`, `completion_cost` | a number, in USD |
/// | `tags`, also `tag` | a text; holds if some tag passes |
/// | `metadata_key`, `metadata_value`, `input_…`, `output_…` | see below |
/// | `feedback_key`, `feedback_value`, `feedback_source`, `feedback_comment` | see below |
/// | `feedback_score` | a number |
/// | `metadata`, `inputs`, `outputs` | with `has`, `exists`, `search`, and `like` of some value |
///
/// Ids, `status` and `is_root` take `eq`, `neq`, `in`; numbers, times and durations also `gt`, `gte`, `lt`, `lte`; texts these
/// and `like`, `notlike`, `search`; tags `has`, `eq`, `neq`, `in`, `like`, `notlike`, `search`.
///
/// `thread_id` is what the metadata say under `thread_id`, else `session_id`, else `conversation_id`.
///
/// # Absent values
///
/// `eq(f, null)` holds if the field is absent, `neq(f, null)` if it is there. An absent field is not equal to anything,
/// not greater and not less: `eq`, `gt`, `like` … do not hold, and `neq`, `notlike`, which are their exact opposites, do.
/// `not(eq(…))` means `neq(…)` in every place, and so on for the others. `neq(error, null)` is refused, as LangSmith
/// does; write `eq(status, "error")`.
///
/// # Entries
///
/// Metadata, inputs and outputs are entries of a key and a value, one for each leaf of the JSON: nested keys joined by
/// dots, arrays without indexes, so that `{"user": {"ids": [1, 2]}}` is `user.ids` = `1` and `user.ids` = `2`. A piece of
/// feedback is an entry of key, score, value, source and comment. Numbers and booleans are compared by their text; a
/// number in the filter also equals, exceeds … a value that reads as a number: `eq(metadata_value, 5)` finds `5`, `5.0` and
/// `"5"`. Known are the first 100 keys and 1000 entries of each, keys up to 512 bytes and the first 250 characters of
/// values, of which `eq` compares no more.
///
/// **Alone**, a condition holds if *some* entry passes; its opposite holds if *none* does. `eq(metadata_key, "k")` says that
/// the key is there and `neq(metadata_key, "k")` that it is not; `neq(feedback_score, 0)` says that no feedback has the score
/// 0, which holds for a run without feedback.
///
/// **In an `and`**, its direct operands about metadata must hold for *one and the same* entry; likewise those about inputs,
/// about outputs, about feedback. `and(eq(feedback_key, "thumbs"), lt(feedback_score, 1))` is about the score of `thumbs`,
/// and `and(eq(metadata_key, "k"), neq(metadata_value, "v"))` says that `k` is there with another value. If all of the
/// operands about a family are opposites (`neq`, `notlike`, `eq` with null, or `not` of another condition), each is taken alone.
///
/// - `a and b and c` is one `and`, and an `and` in parentheses or as a call is another. Two pairs are
///   `and(and(eq(metadata_key, "a"), eq(metadata_value, "1")), and(eq(metadata_key, "b"), eq(metadata_value, "2")))`.
/// - Parentheses around one comparison change nothing; `and(…)` around one sets it apart, as in
///   `and(and(eq(metadata_key, "a")), and(eq(metadata_value, "1")))`: the key is there, and the value under whatever key.
/// - No entry has two keys: `and(eq(metadata_key, "a"), eq(metadata_key, "b"))` never holds. Write `exists` for each.
/// - In an `or` each operand is alone, and an `or` in an `and` is not paired: write `in` for one of several values.
/// - `not(and(…))` holds if there is no such entry.
/// - What is said of `metadata`, `inputs`, `outputs` as a whole and of tags is never paired.
///
/// # Words
///
/// Words are two or more letters and digits, capitals do not count, and very common ones (`the`, `of`) are not looked for.
/// Of a name and an error all words are seen, of values those in the part that is known.
///
/// # Bounds
///
/// A filter has at most 16 KiB, 512 calls, 64 levels; a pattern 250 characters; a search 32 words; JSON in `has` 64 values.
#[derive(Clone)]
pub struct Filter(Arc<Parsed>);

struct Parsed {
    source: Box<str>,
    condition: Condition,
    needs_feedback: bool,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// What is wrong first, and where.
    pub fn parse(source: &str) -> Result<Self, FilterError> {
        let condition = condition(source).map_err(|fault| fault.locate(source))?;
        let needs_feedback = condition.needs_feedback();
        Ok(Self(Arc::new(Parsed { source: source.into(), condition, needs_feedback })))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it holds for a run.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        matches::holds(&self.0.condition, facts)
    }

    /// Whether it names a field of feedback, so that new feedback can change what it says.
    pub fn needs_feedback(&self) -> bool {
        self.0.needs_feedback
    }
}

fn condition(source: &str) -> Result<Condition, Fault> {
    if source.len() > SOURCE_BYTES_MAX {
        let many = format!("the filter has {} bytes", source.len());
        return Err(Fault::new(0, many).hint(format!("at most {SOURCE_BYTES_MAX} are read")));
    }
    check::condition(&parse::parse(source)?)
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Filter {}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.source()).finish()
    }
}
