//! The read side: runs by query, page by page, as the API shows them.
//!
//! The store narrows by what it keeps in columns; the rest is asked of each run. A page that has found something is
//! ended after a bound of runs looked at, or of bytes, with the place where the next one goes on.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use futures::{StreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;

use crate::blobs::{BlobError, BlobKey, Blobs};
use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::RunId;
use crate::model::run::{Run, Status};
use crate::selection::{Found, Selection};
use crate::store::runs::{RunQuery, StoredRun, Tree};
use crate::store::{Store, StoreError};

/// Which runs to show.
#[derive(Clone, Debug, Default)]
pub struct RunSearch {
    /// What the store narrows by; its limit is that of one look.
    pub query: RunQuery,
    /// The three filters.
    pub selection: Selection,
    /// Only children of this run.
    pub parent: Option<RunId>,
    /// Only of this type, in lower case.
    pub run_type: Option<String>,
    /// Only runs with an error, or only runs without.
    pub has_error: Option<bool>,
    /// Only runs on one of these examples; all where empty.
    pub reference_examples: Vec<uuid::Uuid>,
    /// Neither inputs nor outputs are shown: what of them is in the object store is not fetched.
    pub is_brief: bool,
    /// At most so many on a page.
    pub limit: usize,
}

/// Where a page ends: start and number of its last run.
pub type Place = (Timestamp, i64);

/// A page of runs.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order asked for.
    pub runs: Vec<Found>,
    /// Where the next page begins; none behind the last one.
    pub next: Option<Place>,
}

/// Reads runs.
#[derive(Clone)]
pub struct Reading {
    store: Arc<dyn Store>,
    blobs: Blobs,
}

impl Reading {
    /// Over a store, and over the blobs that its rows name.
    pub fn new(store: Arc<dyn Store>, blobs: Blobs) -> Self {
        Self { store, blobs }
    }

    /// One run with what is said about it.
    ///
    /// # Errors
    /// The store's.
    pub async fn run(&self, id: RunId) -> Result<Option<Found>, StoreError> {
        let rows = self.store.runs(RunQuery { ids: vec![id], ..RunQuery::default() }).await?;
        let mut found = Selection::default().pick(&*self.store, rows).await?;
        self.fetch(&mut found).await;
        Ok(found.pop())
    }

    /// A page of what is searched.
    ///
    /// # Errors
    /// The store's.
    pub async fn page(&self, search: &RunSearch) -> Result<Page, StoreError> {
        let mut page = self.page_of_rows(search).await?;
        if !search.is_brief {
            self.fetch(&mut page.runs).await;
        }
        Ok(page)
    }

    /// A page without a run would look like the last one to the SDKs: it goes on until there is one.
    async fn page_of_rows(&self, search: &RunSearch) -> Result<Page, StoreError> {
        let mut page = Page { runs: Vec::new(), next: search.query.after };
        let (mut looked_at, mut bytes) = (0, 0);
        let mut trees = HashMap::new();
        while page.runs.is_empty() || looked_at < limits::RUNS_READ_PER_PAGE_MAX {
            let rows = self.store.runs(RunQuery { after: page.next, ..search.query.clone() }).await?;
            let Some(last) = rows.last().map(place) else { return Ok(Page { next: None, ..page }) };
            looked_at += rows.len();
            for found in self.pick(search, rows, &mut trees).await? {
                let place = (found.run.start_time, found.number);
                bytes += found.bytes;
                page.runs.push(found);
                if page.runs.len() >= search.limit || bytes >= limits::RUNS_SHOWN_BYTES_MAX {
                    return Ok(Page { next: Some(place), ..page });
                }
            }
            page.next = Some(last);
        }
        Ok(page)
    }

    /// Puts inputs and outputs that are blobs in their places, up to a bound for all of them. Those beyond it, and those
    /// that cannot be had, are left to their links.
    async fn fetch(&self, runs: &mut [Found]) {
        let room = Semaphore::new(limits::BLOBS_SHOWN_BYTES_MAX);
        let keys = runs.iter().flat_map(|found| [&found.run.blobs.inputs, &found.run.blobs.outputs]);
        let keys: Vec<_> = keys.map(|key| key.as_deref()?.parse::<BlobKey>().ok()).collect();
        let texts = stream::iter(keys).map(|key| self.text(key, &room)).buffered(limits::BLOBS_SHOWN_AT_ONCE_MAX);
        let texts: Vec<_> = texts.collect().await;
        let values = runs.iter_mut().flat_map(|found| [&mut found.run.inputs, &mut found.run.outputs]);
        for (value, text) in values.zip(texts).filter(|(_, text)| text.is_some()) {
            *value = text;
        }
    }

    async fn text(&self, key: Option<BlobKey>, room: &Semaphore) -> Option<ByteString> {
        let key = key?;
        let read = self.read(&key, room).await;
        let bytes = read.inspect_err(|error| warn!(%key, %error, "a blob is shown as a link only")).ok()??;
        ByteString::try_from(bytes).ok()
    }

    async fn read(&self, key: &BlobKey, room: &Semaphore) -> Result<Option<Bytes>, BlobError> {
        match self.blobs.read(key).await? {
            Some(content) if takes(room, content.size_bytes) => content.into_bytes().await.map(Some),
            _ => Ok(None),
        }
    }

    /// Each tree is asked once for a page.
    async fn pick(
        &self,
        search: &RunSearch,
        rows: Vec<StoredRun>,
        trees: &mut HashMap<Tree, bool>,
    ) -> Result<Vec<Found>, StoreError> {
        let mut picked = Vec::new();
        for found in search.selection.pick(&*self.store, rows).await? {
            if !search.wants(&found.run) {
                continue;
            }
            let tree = Tree { trace: found.run.trace, project: found.run.project };
            let passes = match trees.get(&tree) {
                Some(passes) => *passes,
                None if !search.selection.asks_tree() => true,
                None => search.selection.witness(&*self.store, tree).await?.is_some(),
            };
            trees.insert(tree, passes);
            if passes {
                picked.push(found);
            }
        }
        Ok(picked)
    }
}

/// Whether there was room for so many bytes, which they have from then on.
fn takes(room: &Semaphore, bytes: u64) -> bool {
    let taken = u32::try_from(bytes).ok().and_then(|bytes| room.try_acquire_many(bytes).ok());
    taken.map(SemaphorePermit::forget).is_some()
}

fn place(row: &StoredRun) -> Place {
    (row.start_time, row.number)
}

impl RunSearch {
    /// What the store has no column for.
    fn wants(&self, run: &Run) -> bool {
        let is_of_type = self.run_type.as_ref().is_none_or(|run_type| run_type == &run.run_type);
        let is_of_example = self.reference_examples.is_empty()
            || run.reference_example.is_some_and(|example| self.reference_examples.contains(&example));
        is_of_type
            && is_of_example
            && self.parent.is_none_or(|parent| run.parent == Some(parent))
            && self.has_error.is_none_or(|has_error| (run.status == Status::Error) == has_error)
    }
}
