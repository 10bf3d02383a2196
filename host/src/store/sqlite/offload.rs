//! Offloading: runs are looked for on a reader; the writer swaps their layers where they are as they were read.

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use crate::limits;
use crate::store::Result;
use crate::store::offload::{OffloadQuery, OffloadStore, OffloadedRun, OldRun};
use crate::store::sqlite::columns::{Micros, micros};
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{Failure, SqliteStore};

#[async_trait]
impl OffloadStore for SqliteStore {
    async fn runs_to_offload(&self, query: OffloadQuery) -> Result<Vec<OldRun>> {
        self.read("looking for runs to offload", move |_, reader| find(reader, &query)).await
    }

    async fn offload(&self, runs: Vec<OffloadedRun>) -> Result<Vec<bool>> {
        let layers = runs.iter().flat_map(|run| [&run.post, &run.patch]).flatten();
        let size = layers.map(Bytes::len).sum();
        self.writer.submit("offloading runs", size, move |group| swap(group, &runs)).await
    }
}

/// Whether no field can be large enough to be moved, so that nobody has to look.
pub(super) fn has_nothing_to_move(layers: [Option<&[u8]>; 2]) -> bool {
    layers.into_iter().flatten().all(|layer| layer.len() < limits::OFFLOADED_BYTES_MIN)
}

const FIND: &str = "SELECT number, id, modified_at, changed, post, patch FROM runs
     WHERE is_offloaded = 0 AND modified_at < ?1 AND (modified_at, number) > (?2, ?3)
     ORDER BY modified_at, number LIMIT ?4";

fn find(connection: &Connection, query: &OffloadQuery) -> std::result::Result<Vec<OldRun>, Failure> {
    let (modified_at, number) = query.behind.map_or((i64::MIN, 0), |(time, number)| (micros(time), number));
    let mut select = connection.prepare_cached(FIND)?;
    let mut rows = select.query(params![micros(query.before), modified_at, number, query.limit as i64])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < query.bytes_max
        && let Some(row) = rows.next()?
    {
        let run = old_run(row)?;
        bytes += [&run.post, &run.patch].into_iter().flatten().map(Bytes::len).sum::<usize>();
        found.push(run);
    }
    Ok(found)
}

fn old_run(row: &Row<'_>) -> rusqlite::Result<OldRun> {
    let layer = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Vec<u8>>>(column)?.map(Bytes::from));
    Ok(OldRun {
        number: row.get(0)?,
        id: row.get(1)?,
        modified_at: row.get::<_, Micros>(2)?.0,
        changed: row.get(3)?,
        post: layer(4)?,
        patch: layer(5)?,
    })
}

fn swap(group: &Group<'_>, runs: &[OffloadedRun]) -> std::result::Result<Vec<bool>, Failure> {
    let mut update = group.connection.prepare_cached(
        "UPDATE runs SET post = ifnull(?3, post), patch = ifnull(?4, patch), is_offloaded = 1
         WHERE number = ?1 AND changed = ?2",
    )?;
    let swap = |run: &OffloadedRun| {
        let rows = update.execute(params![run.number, run.changed, run.post.as_deref(), run.patch.as_deref()])?;
        Ok::<_, Failure>(rows == 1)
    };
    runs.iter().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::store::sqlite::{MIGRATIONS, apply, connect, migrate};

    fn plan(connection: &Connection, sql: &str) -> String {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain.query_map(params![1, 0, 0, 1], |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn the_next_batch_is_one_seek_and_needs_no_sorting() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connect(&folder.path().join("runhook.db")).unwrap();
        migrate(&mut connection).unwrap();
        let plan = plan(&connection, FIND);
        assert!(plan.starts_with("SEARCH runs USING INDEX runs_to_offload ("), "{plan}");
        assert!(!plan.contains(';'), "{plan}");
    }

    #[test]
    fn runs_from_before_offloading_are_found_and_what_cannot_be_read_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connect(&folder.path().join("runhook.db")).unwrap();
        for (number, migration) in (1..).zip(&MIGRATIONS[..3]) {
            apply(&mut connection, migration, number).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO runs (id, trace, is_root, is_complete, start_time, received_at, modified_at, changed, post)
                 VALUES (randomblob(16), randomblob(16), 1, 0, 0, 0, 5, 1, x'ff'),
                        (randomblob(16), randomblob(16), 1, 0, 0, 0, 6, 2, x'7b7d');",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let found = find(&connection, &OffloadQuery::batch(Timestamp::MAX, None)).unwrap();
        assert_eq!(found.iter().map(|run| run.changed).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(found[0].post.as_deref(), Some(&[0xff][..]));
    }
}
