//! Fields of runs that lie elsewhere, as a guest meets them: what was fetched is as good as in the payload.
//!
//! A guest has no clock and no randomness, so one that reaches a field which is still to be fetched is stopped, and its
//! chain is run again with it: nothing is waited for on a guest's thread and nothing on a guest's time. Followed are
//! only links that came with the payload: a guest that writes one and reads behind it could send what it knows anywhere.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;

use crate::document::{Document, FieldLink, LargeField, RunKey};
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::frames::without_frames;

/// Values of fields by their `presigned_url`, or why one could not be had.
#[derive(Clone, Debug, Default)]
pub struct Fetched(HashMap<String, Result<ByteString, String>>);

impl Fetched {
    /// Adds what came of a link: one JSON value (see [`crate::document::linked_value`]), or the cause in words.
    pub fn insert(&mut self, url: String, value: Result<ByteString, String>) {
        self.0.insert(url, value);
    }

    /// Whether the link was followed.
    pub fn has(&self, url: &str) -> bool {
        self.0.contains_key(url)
    }

    /// What was fetched, by URL.
    pub(in crate::plugin) fn iter(&self) -> impl Iterator<Item = (&String, Result<&str, &str>)> {
        self.0.iter().map(|(url, value)| (url, value.as_deref().map_err(String::as_str)))
    }

    /// Size of all values.
    pub fn len_bytes(&self) -> usize {
        self.0.values().flatten().map(|value| value.len()).sum()
    }
}

/// The links that came with a payload, and what was fetched of them.
pub(in crate::plugin) struct Links {
    source: Document,
    /// By URL. Looked for when the first guest reaches such a field, which few do.
    known: OnceLock<HashMap<String, FieldLink>>,
    fetched: Arc<Fetched>,
}

/// Why the host stopped a guest.
pub(in crate::plugin) enum Stop {
    /// What has to be fetched, and what was read, in words.
    Needs(Vec<FieldLink>, String),
    /// What could not be had, in words.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
#[error("stopped at a field that lies elsewhere")]
struct Stopped;

impl Links {
    /// Those of a document that no guest has edited yet.
    pub(in crate::plugin) fn of(source: &Document, fetched: Arc<Fetched>) -> Self {
        Self { source: source.clone(), known: OnceLock::new(), fetched }
    }

    /// The payload as it came to the chain.
    pub(in crate::plugin) fn document(&self) -> &Document {
        &self.source
    }

    /// The same as bytes.
    pub(in crate::plugin) fn source(&self) -> &[u8] {
        self.source.source()
    }

    pub(in crate::plugin) fn fetched(&self) -> &Fetched {
        &self.fetched
    }

    /// Bytes that a guest may come to read beside the payload.
    pub(in crate::plugin) fn len_bytes(&self) -> usize {
        self.fetched.len_bytes()
    }

    fn known(&self) -> &HashMap<String, FieldLink> {
        self.known.get_or_init(|| {
            let runs = self.source.runs().collect::<Vec<_>>().into_iter();
            let links = runs.flat_map(|run| LargeField::ALL.map(|field| self.source.link(run, field)));
            links.flatten().map(|link| (link.url.clone(), link)).collect()
        })
    }

    /// The links of these fields of all runs that are not followed yet, each once and as it came.
    fn missing(&self, document: &Document, fields: &[LargeField]) -> Vec<FieldLink> {
        let mut missing: Vec<FieldLink> = Vec::new();
        let all = document.runs().flat_map(|run| fields.iter().filter_map(move |field| document.link(run, *field)));
        let mut seen = HashSet::new();
        for link in all.filter_map(|link| self.known().get(&link.url)) {
            if !self.fetched.has(&link.url) && seen.insert(&link.url) {
                missing.push(link.clone());
            }
        }
        missing
    }
}

impl Sandbox {
    /// The value of a run's field that lies elsewhere; none where it does not. Where it is still to be fetched, so are
    /// all `wanted` fields.
    pub(in crate::plugin) fn elsewhere(
        &mut self,
        run: RunKey,
        field: LargeField,
        wanted: &[LargeField],
    ) -> wasmtime::Result<Option<ByteString>> {
        let link = self.document.link(run, field).filter(|link| self.links.known().contains_key(&link.url));
        let Some(link) = link else { return Ok(None) };
        let stop = match self.links.fetched.0.get(&link.url) {
            Some(Ok(value)) => return Ok(Some(value.clone())),
            Some(Err(cause)) => Stop::Failed(format!("{} and cannot be had: {cause}", self.said(run, field))),
            None => Stop::Needs(self.links.missing(&self.document, wanted), self.said(run, field)),
        };
        self.stopped(stop)
    }

    /// Takes all fields of a run that lie elsewhere into the document.
    pub(in crate::plugin) fn take_in(&mut self, run: RunKey) -> wasmtime::Result<()> {
        LargeField::ALL.into_iter().try_for_each(|field| self.take_field_in(run, field, &LargeField::ALL))
    }

    /// The same of every run.
    pub(in crate::plugin) fn take_all_in(&mut self) -> wasmtime::Result<()> {
        let runs: Vec<_> = self.document.runs().collect();
        runs.into_iter().try_for_each(|run| self.take_in(run))
    }

    /// Takes the field below which a pointer leads into the document, so that it can be edited there.
    pub(in crate::plugin) fn take_in_for(&mut self, run: RunKey, pointer: &str) -> wasmtime::Result<()> {
        match LargeField::of(pointer) {
            Some(field) if pointer != field.pointer() => self.take_field_in(run, field, &[field]),
            _ => Ok(()),
        }
    }

    fn take_field_in(&mut self, run: RunKey, field: LargeField, wanted: &[LargeField]) -> wasmtime::Result<()> {
        let Some(value) = self.elsewhere(run, field, wanted)? else { return Ok(()) };
        match self.document.take_in(run, field, &value) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.stopped(Stop::Failed(format!("{} and cannot be taken in: {error}", self.said(run, field))))
            }
        }
    }

    fn said(&self, run: RunKey, field: LargeField) -> String {
        let id = self.document.run_text(run, "/id").unwrap_or_else(|| "without an id".to_owned());
        format!("the {} of the run {id} lie elsewhere", field.name())
    }

    fn stopped<T>(&mut self, stop: Stop) -> wasmtime::Result<T> {
        self.stop = Some(stop);
        Err(without_frames(Stopped.into()))
    }
}
