//! Pruning. What is past its time is looked for on a reader, so that the writer never searches; the writer asks again
//! where that may have changed, and removes.
//!
//! SQLite uses the pages of removed rows again: the file keeps the size of its fullest day.

mod bodies;
mod history;
mod leftovers;
mod runs;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::Result;
use crate::store::retention::{Pruned, RetentionStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::columns::micros;
use crate::store::sqlite::writer::Group;

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn prune_runs(&self, before: Timestamp, limit: usize) -> Result<Pruned> {
        let before = micros(before);
        let old = self.read("looking for old runs", move |_, reader| runs::old(reader, before, limit)).await?;
        if !old.is_empty() {
            return self.writer.submit("removing runs", 0, move |group| runs::remove(group, &old, limit)).await;
        }
        let strays =
            self.read("looking for old feedback", move |_, reader| runs::strays(reader, before, limit)).await?;
        if strays.is_empty() {
            return Ok(Pruned::default());
        }
        self.writer.submit("removing feedback", 0, move |group| runs::remove_strays(group, &strays, before)).await
    }

    async fn prune_history(&self, before: Timestamp, limit: usize) -> Result<Pruned> {
        let before = micros(before);
        let old = self.read("looking for old payloads", move |_, reader| history::old(reader, before, limit)).await?;
        if old.is_empty() {
            return Ok(Pruned::default());
        }
        let remove = move |group: &mut Group<'_>| history::remove(group, &old, before, limit);
        self.writer.submit("removing payloads", 0, remove).await
    }

    async fn prune_leftovers(&self, now: Timestamp, limit: usize) -> Result<Pruned> {
        let unused = self.read("looking for leftovers", move |_, reader| leftovers::find(reader, now, limit)).await?;
        if unused.is_empty() {
            return Ok(Pruned::default());
        }
        self.writer.submit("removing leftovers", 0, move |group| leftovers::remove(group, &unused, limit)).await
    }

    async fn prune_bodies(&self, now: Timestamp, limit: usize) -> Result<Pruned> {
        let unnamed =
            self.read("looking for old bodies", move |readers, it| bodies::unnamed(readers, it, limit)).await?;
        let close = move |group: &mut Group<'_>| bodies::closed(group, unnamed, now);
        let dead = self.writer.submit("closing a segment of bodies", 0, close).await?;
        if dead.is_empty() {
            return Ok(Pruned::default());
        }
        // Only now that it is committed that nothing names them.
        self.read("deleting bodies", move |readers, _| bodies::delete(readers, &dead)).await
    }
}
