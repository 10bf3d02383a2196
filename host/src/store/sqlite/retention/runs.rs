//! Runs that are past their time, with all that is about them; and what is about a run that is not there.

use rusqlite::{Connection, params};

use crate::limits;
use crate::model::ids::RunId;
use crate::store::retention::Pruned;
use crate::store::sqlite::Failure;
use crate::store::sqlite::writer::Group;

/// A run whose time is over. Neither its number nor its time will ever be another's.
pub(super) struct OldRun {
    number: i64,
    id: RunId,
}

/// The oldest first; in bytes no more than the writer removes in one go, but for one that is larger alone.
pub(super) fn old(connection: &Connection, before: i64, limit: usize) -> Result<Vec<OldRun>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT number, id, ifnull(length(post), 0) + ifnull(length(patch), 0) FROM runs
         WHERE received_at < ?1 ORDER BY received_at LIMIT ?2",
    )?;
    let mut rows = select.query(params![before, limit as i64])?;
    let (mut old, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += row.get::<_, i64>(2)?;
        if bytes > limits::PRUNE_BYTES_MAX as i64 && !old.is_empty() {
            break;
        }
        old.push(OldRun { number: row.get(0)?, id: row.get(1)? });
    }
    Ok(old)
}

/// What is left over of a run that many have spoken about is for the next batch. Its marks go with it and not before:
/// a rule must not take it for a new one.
pub(super) fn remove(group: &Group<'_>, runs: &[OldRun], limit: usize) -> Result<Pruned, Failure> {
    let connection = group.connection;
    let mut feedback = connection
        .prepare_cached("DELETE FROM feedback WHERE number IN (SELECT number FROM feedback WHERE run = ?1 LIMIT ?2)")?;
    let mut files = connection.prepare_cached(
        "DELETE FROM attachments WHERE (run, name) IN (SELECT run, name FROM attachments WHERE run = ?1 LIMIT ?2)",
    )?;
    let mut marks = connection.prepare_cached("DELETE FROM matches WHERE run = ?1")?;
    let mut row = connection.prepare_cached("DELETE FROM runs WHERE number = ?1")?;
    let mut pruned = Pruned::default();
    let left = |pruned: &Pruned| limit.saturating_sub(pruned.rows()) as i64;
    for run in runs {
        pruned.feedback += feedback.execute(params![run.id, left(&pruned)])?;
        pruned.attachments += files.execute(params![run.id, left(&pruned)])?;
        if left(&pruned) == 0 {
            break;
        }
        pruned.matches += marks.execute([run.number])?;
        pruned.runs += row.execute([run.number])?;
    }
    Ok(pruned)
}

/// What is about a run that never came, came and went, or is about no run at all.
pub(super) struct Strays {
    feedback: Vec<i64>,
    files: Vec<(RunId, String)>,
}

impl Strays {
    pub(super) fn is_empty(&self) -> bool {
        self.feedback.is_empty() && self.files.is_empty()
    }
}

const IS_STRAY: &str = "stored_at < ?1 AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = run)";

pub(super) fn strays(connection: &Connection, before: i64, limit: usize) -> Result<Strays, Failure> {
    let select = |columns: &str, table: &str, limit: usize| {
        let sql = format!("SELECT {columns} FROM {table} WHERE {IS_STRAY} ORDER BY stored_at LIMIT {limit}");
        connection.prepare(&sql)
    };
    let mut feedback = select("number", "feedback", limit)?;
    let feedback = feedback.query_map([before], |row| row.get(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut files = select("run, name", "attachments", limit.saturating_sub(feedback.len()))?;
    let files = files.query_map([before], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(Strays { feedback, files })
}

/// Those whose run has come meanwhile stay.
pub(super) fn remove_strays(group: &Group<'_>, strays: &Strays, before: i64) -> Result<Pruned, Failure> {
    let prepare = |table: &str, key: &str| {
        group.connection.prepare_cached(&format!("DELETE FROM {table} WHERE {key} AND {IS_STRAY}"))
    };
    let mut pruned = Pruned::default();
    let mut delete = prepare("feedback", "number = ?2")?;
    for number in &strays.feedback {
        pruned.feedback += delete.execute(params![before, number])?;
    }
    let mut delete = prepare("attachments", "run = ?2 AND name = ?3")?;
    for (run, name) in &strays.files {
        pruned.attachments += delete.execute(params![before, run, name])?;
    }
    Ok(pruned)
}
