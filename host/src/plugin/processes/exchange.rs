//! What the host and a guest process say to each other, and how the host takes an answer: as a stranger's. Whoever breaks
//! out of the sandbox there speaks for the plugin, about the payload that it was given, and for nothing else.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::document::{Document, FieldLink, LargeField, RUNS_MAX, RunKey};
use crate::limits::PLUGIN_FRAMES_MAX;
use crate::model::payload::Body;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};
use crate::plugin::bounded::at_most;
use crate::plugin::guest_log::LogLine;
use crate::plugin::limits::PluginLimits;
use crate::plugin::policy::Grants;
use crate::plugin::sandbox::call::{Called, EXPORTS, Made, Usage, capped};
use crate::plugin::sandbox::host_output::{HEADERS_MAX, check_content_type, check_header};
use crate::plugin::sandbox::linked::{Fetched, Links};
use crate::plugin::sandbox::output_ring::printable;

/// Fields of all runs that can lie elsewhere.
const FIELDS_ELSEWHERE_MAX: usize = LargeField::ALL.len() * RUNS_MAX;

/// What a process is told first: whom it serves.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Load {
    pub(in crate::plugin) plugin: PluginName,
    /// Where the code is no snapshot.
    pub(in crate::plugin) config: Option<String>,
    pub(in crate::plugin) limits: PluginLimits,
    pub(in crate::plugin) grants: Grants,
}

/// What a process is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) enum Request {
    /// What the plugin says of itself.
    Describe,
    /// Whether it takes its configuration.
    Configure,
    /// To pass a payload through it.
    Process(Parts),
}

/// The parts that follow a request, one behind the other, in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Parts {
    /// The payload as it is now.
    document: usize,
    /// The payload as it came to the chain, where that is another.
    source: Option<usize>,
    /// What was fetched, by URL.
    fetched: Vec<(String, Result<usize, String>)>,
}

/// What came of it. Where it has text, that follows.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) enum Came {
    Done,
    Text,
    /// The same payload without these runs, by their places.
    Kept(#[serde(deserialize_with = "at_most::<RUNS_MAX, _, _>")] Vec<u32>),
    /// Another payload.
    Document,
    NoRuns,
    Body {
        content_type: String,
        #[serde(deserialize_with = "at_most::<HEADERS_MAX, _, _>")]
        headers: Vec<(String, String)>,
    },
    Nothing,
    /// Fields of runs of the payload as it came to the chain, by the runs' places; without them, this is the failure.
    Needs(#[serde(deserialize_with = "at_most::<FIELDS_ELSEWHERE_MAX, _, _>")] Vec<(u32, LargeField)>, PluginFailure),
}

/// The head of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Said {
    pub(in crate::plugin) came: Result<Came, PluginFailure>,
    pub(in crate::plugin) usage: Usage,
}

/// An answer, not looked at yet.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) said: Said,
    pub(super) body: Vec<u8>,
}

/// A payload with all that a guest may read of it.
pub(super) struct Asked<'a> {
    document: Bytes,
    source: Option<&'a [u8]>,
    fetched: &'a Fetched,
}

impl<'a> Asked<'a> {
    pub(super) fn new(document: &Document, links: &'a Links) -> Self {
        let (document, source) = (document.to_bytes(), links.source());
        let is_source = std::ptr::eq(document.as_ref(), source);
        Self { document, source: (!is_source).then_some(source), fetched: links.fetched() }
    }

    pub(super) fn head(&self) -> Parts {
        let fetched = self.fetched.iter().map(|(url, value)| (url.clone(), value.map(str::len).map_err(str::to_owned)));
        Parts { document: self.document.len(), source: self.source.map(<[u8]>::len), fetched: fetched.collect() }
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.len_bytes());
        body.extend_from_slice(&self.document);
        body.extend_from_slice(self.source.unwrap_or_default());
        for value in self.fetched.iter().filter_map(|(_, value)| value.ok()) {
            body.extend_from_slice(value.as_bytes());
        }
        body
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.document.len() + self.source.map_or(0, <[u8]>::len) + self.fetched.len_bytes()
    }
}

impl Parts {
    /// The payload as it is, and as it came where that is another, and what was fetched; none where the body is not as
    /// announced.
    pub(super) fn taken_apart(self, body: Vec<u8>) -> Option<(Bytes, Option<Bytes>, Fetched)> {
        let mut body = Bytes::from(body);
        let mut part = |len: usize| (len <= body.len()).then(|| body.split_to(len));
        let document = part(self.document)?;
        let source = self.source.map(|len| part(len).ok_or(())).transpose().ok()?;
        let mut fetched = Fetched::default();
        for (url, value) in self.fetched {
            let value = match value {
                Ok(len) => Ok(part(len)?.try_into().ok()?),
                Err(cause) => Err(cause),
            };
            fetched.insert(url, value);
        }
        Some((document, source, fetched))
    }
}

impl Came {
    /// What a guest made of a document, with the text that goes with it.
    pub(super) fn of(made: Made, before: &Document, source: &Document) -> (Self, Vec<u8>) {
        match made {
            Made::Document(after) if after.is_left_as_it_came() => (Self::Kept(dropped(before, &after)), Vec::new()),
            Made::Document(after) => (Self::Document, after.to_bytes().into()),
            Made::NoRuns => (Self::NoRuns, Vec::new()),
            Made::Body(Body { content_type, headers, bytes }) => (Self::Body { content_type, headers }, bytes.into()),
            Made::Nothing => (Self::Nothing, Vec::new()),
            Made::Needs(links, failure) => (Self::Needs(places(&links, source), failure), Vec::new()),
        }
    }
}

/// The places of runs that were taken out.
fn dropped(before: &Document, after: &Document) -> Vec<u32> {
    let left: HashSet<RunKey> = after.runs().collect();
    (0..).zip(before.runs()).filter(|(_, run)| !left.contains(run)).map(|(place, _)| place).collect()
}

/// The places of links among the runs of the payload that they came with.
fn places(links: &[FieldLink], source: &Document) -> Vec<(u32, LargeField)> {
    let wanted: HashSet<&str> = links.iter().map(|link| link.url.as_str()).collect();
    let fields = (0..).zip(source.runs()).flat_map(|(place, run)| LargeField::ALL.map(|field| (place, run, field)));
    let is_wanted = |run, field| source.link(run, field).is_some_and(|link| wanted.contains(link.url.as_str()));
    fields.filter(|(_, run, field)| is_wanted(*run, *field)).map(|(place, _, field)| (place, field)).collect()
}

/// The links that came with a payload in these places, each once.
fn links_at(mut places: Vec<(u32, LargeField)>, source: &Document) -> Vec<FieldLink> {
    let (mut known_places, mut known_urls) = (HashSet::new(), HashSet::new());
    places.retain(|place| known_places.insert(*place));
    let runs: Vec<_> = source.runs().collect();
    let link = |(place, field)| source.link(*runs.get(place as usize)?, field);
    places.into_iter().filter_map(link).filter(|link| known_urls.insert(link.url.clone())).collect()
}

impl Answer {
    /// What the guest made of the document that it was asked about.
    pub(super) fn made(
        self,
        plugin: Called<'_>,
        mut document: Document,
        links: &Links,
        limits: &PluginLimits,
    ) -> (Result<Made, PluginFailure>, Usage) {
        let usage = usage(self.said.usage, limits);
        let failed = |words: &str| Err(no_answer(plugin.name, words));
        let body = Bytes::from(self.body);
        let made = match self.said.came {
            Err(failure) => Err(checked(failure, plugin.name)),
            Ok(Came::Kept(dropped)) => {
                let runs: Vec<_> = document.runs().collect();
                if dropped.len() > runs.len() {
                    return (failed("with more runs than there are"), usage);
                }
                for run in dropped.iter().filter_map(|place| runs.get(*place as usize)) {
                    document.drop_run(*run);
                }
                Ok(Made::Document(document))
            }
            Ok(Came::Document) => match Document::parse(body) {
                Ok(document) => Ok(Made::Document(document)),
                Err(error) => failed(&format!("a payload that cannot be read: {error}")),
            },
            Ok(Came::NoRuns) => Ok(Made::NoRuns),
            Ok(Came::Nothing) => Ok(Made::Nothing),
            Ok(Came::Body { content_type, headers }) => match check_head(&content_type, &headers) {
                Ok(()) => Ok(Made::Body(Body { content_type, headers, bytes: body })),
                Err(error) => failed(&error),
            },
            Ok(Came::Needs(places, failure)) => {
                Ok(Made::Needs(links_at(places, links.document()), checked(failure, plugin.name)))
            }
            Ok(Came::Done | Came::Text) => failed("what was not asked for"),
        };
        (made, usage)
    }

    pub(super) fn done(self, plugin: Called<'_>) -> Result<(), PluginFailure> {
        match self.said.came {
            Ok(Came::Done) => Ok(()),
            Ok(_) => Err(no_answer(plugin.name, "what was not asked for")),
            Err(failure) => Err(checked(failure, plugin.name)),
        }
    }

    pub(super) fn text(self, plugin: Called<'_>) -> Result<String, PluginFailure> {
        match (self.said.came, String::from_utf8(self.body)) {
            (Ok(Came::Text), Ok(text)) => Ok(text),
            (Ok(_), _) => Err(no_answer(plugin.name, "what was not asked for")),
            (Err(failure), _) => Err(checked(failure, plugin.name)),
        }
    }
}

fn check_head(content_type: &str, headers: &[(String, String)]) -> Result<(), String> {
    check_content_type(content_type)?;
    (0..).zip(headers).try_for_each(|(others, (name, value))| check_header(name, value, others).map(drop))
}

fn no_answer(plugin: &PluginName, words: &str) -> PluginFailure {
    let message = format!("its process answered {words}");
    PluginFailure { plugin: plugin.clone(), export: "load".to_owned(), kind: PluginFailureKind::Trap, message }
}

/// Words that are bounded and without control characters, and an export that there is.
fn checked(failure: PluginFailure, plugin: &PluginName) -> PluginFailure {
    let export = EXPORTS.iter().find(|export| **export == failure.export).unwrap_or(&"load");
    let message = printable(capped(&failure.message));
    PluginFailure { plugin: plugin.clone(), export: (*export).to_owned(), kind: failure.kind, message }
}

/// Figures are figures; texts are bounded and without control characters.
fn usage(said: Usage, limits: &PluginLimits) -> Usage {
    let output = &said.output[said.output.ceil_char_boundary(said.output.len().saturating_sub(limits.output_bytes))..];
    let lines_max = usize::try_from(limits.log_lines).unwrap_or(usize::MAX).saturating_add(1);
    let log = said.log.into_iter().take(lines_max).map(LogLine::checked).collect();
    let frames = said.frames.iter().take(PLUGIN_FRAMES_MAX).map(|frame| printable(capped(frame))).collect();
    Usage { output: printable(output), log, frames, ..said }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::plugin::trial::Trial;
    use crate::plugin::trial::tests::redact;

    fn document() -> Document {
        let link = r#"{"ROOT":{"presigned_url":"https://a/1"}}"#;
        let linked = format!(r#""inputs":null,"inputs_s3_urls":{link}"#);
        let json = format!(r#"{{"runs":[{{"id":"1"}},{{"id":"2",{linked}}},{{"id":"3",{linked}}}]}}"#);
        Document::parse(json.into()).unwrap()
    }

    /// What the host makes of an answer.
    fn made(came: Result<Came, PluginFailure>, usage: Usage, body: &[u8]) -> (Result<Made, PluginFailure>, Usage) {
        static REDACT: LazyLock<Trial> = LazyLock::new(redact);
        let (document, limits) = (document(), PluginLimits::default());
        let links = Links::of(&document, std::sync::Arc::default());
        let called = Called { name: REDACT.name(), component: REDACT.component(), config: None };
        Answer { said: Said { came, usage }, body: body.to_vec() }.made(called, document, &links, &limits)
    }

    fn refused(came: Came, body: &[u8]) -> String {
        match made(Ok(came), Usage::default(), body).0 {
            Err(failure) => {
                assert_eq!((failure.plugin.as_str(), failure.kind), ("redact", PluginFailureKind::Trap));
                failure.message
            }
            Ok(_) => panic!("it is taken"),
        }
    }

    #[test]
    fn what_a_process_answers_is_taken_as_a_strangers() {
        assert!(refused(Came::Document, br#"{"runs":[}"#).contains("cannot be read"));
        assert!(refused(Came::Document, b"\xff").contains("cannot be read"));
        assert!(refused(Came::Document, b"[]").contains("cannot be read"));
        assert!(refused(Came::Kept(vec![0; 4]), b"").contains("more runs than there are"));
        assert!(refused(Came::Text, b"").contains("what was not asked for"));
        let body = |content_type: &str, name: &str, value: &str| Came::Body {
            content_type: content_type.to_owned(),
            headers: vec![(name.to_owned(), value.to_owned())],
        };
        assert!(refused(body("a\nb", "x", "y"), b"").contains("the content type"));
        assert!(refused(body("a", "Host", "y"), b"").contains("belongs to the host"));
        assert!(refused(body("a", "x", "y\r\nz: 1"), b"").contains("the value of `x`"));
        let many = Came::Body { content_type: "a".to_owned(), headers: vec![("x".to_owned(), "y".to_owned()); 100] };
        assert!(refused(many, b"").contains("at most"));
    }

    #[test]
    fn a_process_speaks_for_its_plugin_alone_and_in_words_that_are_shown() {
        let failure = PluginFailure {
            plugin: "another".parse().unwrap(),
            export: "rm".to_owned(),
            kind: PluginFailureKind::Refused,
            message: format!("\x1b[31m{}", "x".repeat(100_000)),
        };
        let log = vec![LogLine { level: "fatal".to_owned(), message: "a\nERROR b".to_owned() }; 5_000];
        let usage = Usage { output: format!("{}\x07", "ä".repeat(100_000)), log, ..Usage::default() };
        let (failed, usage) = made(Err(failure), usage, b"");
        let Err(failed) = failed else { panic!("it failed") };
        assert_eq!((failed.plugin.as_str(), failed.export.as_str()), ("redact", "load"));
        assert!(failed.message.starts_with("\\u{1b}[31m") && failed.message.len() < 10_000);
        assert!(usage.output.len() < 20_000 && usage.output.ends_with("\\u{7}"));
        assert_eq!((usage.log.len(), usage.log[0].level.as_str()), (1_001, "info"));
        assert_eq!(usage.log[0].message, "a\\nERROR b");
    }

    #[test]
    fn only_links_that_came_with_the_payload_are_followed_and_each_once() {
        let failure = PluginFailure {
            plugin: "redact".parse().unwrap(),
            export: "apply".to_owned(),
            kind: PluginFailureKind::Refused,
            message: String::new(),
        };
        let inputs = [0, 1, 1, 2, 9].map(|place| (place, LargeField::Inputs));
        let wanted = inputs.into_iter().chain([(1, LargeField::Outputs)]).collect();
        let (Ok(Made::Needs(links, _)), _) = made(Ok(Came::Needs(wanted, failure)), Usage::default(), b"") else {
            panic!("it needs one")
        };
        assert_eq!(links.iter().map(|link| link.url.as_str()).collect::<Vec<_>>(), ["https://a/1"]);
    }

    #[test]
    fn a_payload_that_was_edited_is_answered_whole() {
        let before = document();
        let edits: [fn(&mut Document, RunKey); 5] = [
            |document, run| document.run_set(run, "/name", "1").unwrap(),
            |document, run| assert!(document.run_remove(run, "/id")),
            |document, run| document.take_in(run, LargeField::Inputs, "1").unwrap(),
            |document, _| document.set("/mark", "1").unwrap(),
            |document, _| document.set("/runs", r#"[{"id":"1"},{"id":"2"},{"id":"3"}]"#).unwrap(),
        ];
        for edit in edits {
            let mut after = before.clone();
            after.drop_run(after.run(0).unwrap());
            let run = after.run(0).unwrap();
            edit(&mut after, run);
            let (came, body) = Came::of(Made::Document(after.clone()), &before, &before);
            assert!(matches!(came, Came::Document) && after.to_bytes() == body, "{came:?}");
        }
        // An edit of what was taken out afterwards is gone with it.
        let mut after = before.clone();
        let run = after.run(2).unwrap();
        after.run_set(run, "/name", "1").unwrap();
        after.drop_run(run);
        let (came, _) = Came::of(Made::Document(after), &before, &before);
        assert!(matches!(&came, Came::Kept(dropped) if *dropped == [2]), "{came:?}");
    }

    proptest! {
        #[test]
        fn runs_that_are_taken_out_there_are_taken_out_here(places in prop::collection::vec(0_u32..5, 0..4)) {
            let (Ok(Made::Document(left)), _) = made(Ok(Came::Kept(places.clone())), Usage::default(), b"") else {
                return Err(TestCaseError::fail("it is a document"));
            };
            let expected: Vec<u32> = (0..3).filter(|place| !places.contains(place)).collect();
            let before = document();
            let (came, body) = Came::of(Made::Document(left.clone()), &before, &before);
            prop_assert_eq!(left.len(), expected.len());
            prop_assert!(body.is_empty());
            let Came::Kept(dropped) = came else { return Err(TestCaseError::fail("it is the same payload")) };
            prop_assert!(dropped.iter().all(|place| !expected.contains(place)));
            prop_assert_eq!(dropped.len() + expected.len(), 3);
        }

        #[test]
        fn what_is_asked_arrives_whole_and_nothing_shorter_does(values: Vec<Option<String>>, is_edited: bool, extra in 0_usize..3) {
            let mut fetched = Fetched::default();
            for (number, value) in values.iter().enumerate() {
                let value = value.clone().map(Into::into).ok_or_else(|| "gone".to_owned());
                fetched.insert(format!("https://a/{number}"), value);
            }
            let source = document();
            let mut edited = source.clone();
            if is_edited {
                edited.set("/mark", "1").unwrap();
            }
            let links = Links::of(&source, fetched.into());
            let asked = Asked::new(&edited, &links);
            let (parts, mut body) = (asked.head(), asked.body());
            prop_assert_eq!(body.len(), asked.len_bytes());
            let (now, before, arrived) = parts.clone().taken_apart(body.clone()).unwrap();
            prop_assert_eq!(&now, &edited.to_bytes());
            prop_assert_eq!(before.is_some(), is_edited);
            prop_assert_eq!(arrived.iter().count(), values.len());
            let is_same = arrived.iter().all(|(url, value)| links.fetched().iter().any(|it| it == (url, value)));
            prop_assert!(is_same);
            body.truncate(body.len().saturating_sub(1 + extra));
            prop_assert!(parts.taken_apart(body).is_none());
        }
    }
}
