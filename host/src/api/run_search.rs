//! What a client asks of runs, from the bodies of the two query APIs.
//!
//! Keys that are not known are ignored, as LangSmith does: its clients send more than they need. What is known and wrong
//! is told.

pub(super) mod first;
pub(super) mod second;

use std::str::FromStr;

use serde_json::Value;

use crate::api::answer::ApiError;
use crate::definition::{Problem, Problems};
use crate::layers;
use crate::limits;
use crate::model::Timestamp;
use crate::reading::RunSearch;
use crate::selection::Selection;

/// A search, and which fields of what it finds.
pub(super) struct Wanted {
    pub(super) search: RunSearch,
    /// All where none.
    pub(super) select: Option<Vec<String>>,
}

/// Whether neither inputs nor outputs are chosen; capitals do not count.
fn is_brief(select: Option<&[String]>) -> bool {
    let is_value = |name: &String| ["inputs", "outputs"].iter().any(|value| name.eq_ignore_ascii_case(value));
    select.is_some_and(|names| !names.iter().any(is_value))
}

/// A JSON body with what is wrong in it.
struct Asked<'a> {
    body: &'a Value,
    problems: Problems,
}

impl<'a> Asked<'a> {
    fn of(body: &'a Value) -> Result<Self, ApiError> {
        let asked = Self { body, problems: Problems::new() };
        if body.is_object() { Ok(asked) } else { Err(ApiError::bad_request("the body is no JSON object")) }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.body.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(&mut self, key: &str, needs: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        let read = read(value);
        if read.is_none() {
            self.problems.push(Problem { at: key.to_owned(), problem: format!("needs {needs}") });
        }
        read
    }

    fn text(&mut self, key: &str) -> Option<&'a str> {
        self.typed(key, "a string", Value::as_str).filter(|text| !text.is_empty())
    }

    fn boolean(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    fn id<T: FromStr>(&mut self, key: &str) -> Option<T> {
        self.typed(key, "a UUID", |value| value.as_str()?.parse().ok())
    }

    /// One id is as good as a list of one.
    fn ids<T: FromStr>(&mut self, key: &str) -> Vec<T> {
        let one = |value: &Value| value.as_str()?.parse().ok();
        let read = |value: &Value| match value {
            Value::Array(values) => values.iter().map(one).collect(),
            value => one(value).map(|id| vec![id]),
        };
        let ids = self.typed(key, "an array of UUIDs", read).unwrap_or_default();
        if ids.len() > limits::IDS_PER_REQUEST_MAX {
            let problem = format!("are {}; a request asks for at most {}", ids.len(), limits::IDS_PER_REQUEST_MAX);
            self.problems.push(Problem { at: key.to_owned(), problem });
        }
        ids
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let one = |value: &Value| value.as_str().map(str::to_owned);
        self.typed(key, "an array of strings", |value| value.as_array()?.iter().map(one).collect())
    }

    fn time(&mut self, key: &str) -> Option<Timestamp> {
        self.typed(key, "a time such as 2026-07-01T09:00:00Z", |value| layers::time(&value.to_string()))
    }

    fn number(&mut self, key: &str, max: usize) -> Option<usize> {
        let read = |value: &Value| usize::try_from(value.as_u64()?).ok().filter(|number| (1..=max).contains(number));
        self.typed(key, &format!("a whole number from 1 to {max}"), read)
    }

    fn selection(&mut self) -> Selection {
        let (run, root, tree) = (self.text("filter"), self.text("trace_filter"), self.text("tree_filter"));
        Selection::parse(run, root, tree).unwrap_or_else(|(key, error)| {
            self.problems.push(Problem { at: key.to_owned(), problem: error.to_string() });
            Selection::default()
        })
    }

    fn place(&mut self) -> Option<crate::reading::Place> {
        let cursor = self.text("cursor")?;
        super::runs::place(cursor).map_err(|problems| self.problems.extend(problems)).ok()
    }

    /// What was read, or all that is wrong.
    fn end(self, wanted: Wanted) -> Result<Wanted, ApiError> {
        if self.problems.is_empty() { Ok(wanted) } else { Err(self.problems.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::is_brief;

    #[test]
    fn who_chooses_neither_inputs_nor_outputs_is_shown_none() {
        let chosen = |names: &[&str]| is_brief(Some(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()));
        assert!(chosen(&[]) && chosen(&["id", "inputs_s3_urls"]));
        assert!(!chosen(&["id", "inputs"]) && !chosen(&["OUTPUTS"]));
        assert!(!is_brief(None), "all fields");
    }
}
