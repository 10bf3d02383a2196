//! Rows that have no use any more: expired idempotency keys, marks of rules that are gone, webhooks without deliveries.

use rusqlite::{Connection, OptionalExtension, params};

use crate::limits;
use crate::model::Timestamp;
use crate::store::retention::Pruned;
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::micros;
use crate::store::sqlite::writer::Group;

/// What was found. None of it can come to use again but an endpoint, whose webhook may be put back.
pub(super) struct Unused {
    keys_until: i64,
    has_keys: bool,
    /// Numbers that no cursor has; no other cursor will.
    cursors: Vec<i64>,
    endpoints: Vec<i64>,
}

impl Unused {
    pub(super) fn is_empty(&self) -> bool {
        !self.has_keys && self.cursors.is_empty() && self.endpoints.is_empty()
    }
}

/// A fan-out that still knows the webhook fails, and is made again with the rules as they are then.
const IS_UNUSED: &str =
    "is_removed = 1 AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint = endpoints.number)";

pub(super) fn find(connection: &Connection, now: Timestamp, limit: usize) -> Result<Unused, Failure> {
    let keys_until = micros(now) - limits::IDEMPOTENCY_WINDOW.as_micros() as i64;
    let has_keys = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM idempotency_keys WHERE accepted_at <= ?1)")?
        .query_row([keys_until], |row| row.get(0))?;
    let mut endpoints =
        connection.prepare_cached(&format!("SELECT number FROM endpoints WHERE {IS_UNUSED} LIMIT ?1"))?;
    let endpoints = endpoints.query_map([limit as i64], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Unused { keys_until, has_keys, cursors: gone(connection)?, endpoints })
}

/// Cursors that have marks and are gone: each distinct number is one step in the index.
fn gone(connection: &Connection) -> Result<Vec<i64>, Failure> {
    let mut next = connection.prepare_cached("SELECT cursor FROM matches WHERE cursor > ?1 ORDER BY cursor LIMIT 1")?;
    let mut is_there = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM cursors WHERE number = ?1)")?;
    let (mut gone, mut last) = (Vec::new(), i64::MIN);
    while let Some(cursor) = next.query_row([last], |row| row.get(0)).optional()? {
        if !is_there.query_row([cursor], |row| row.get::<_, bool>(0))? {
            gone.push(cursor);
        }
        last = cursor;
    }
    Ok(gone)
}

pub(super) fn remove(group: &Group<'_>, unused: &Unused, limit: usize) -> Result<Pruned, Failure> {
    let mut pruned = Pruned::default();
    let left = |pruned: &Pruned| limit.saturating_sub(pruned.rows()) as i64;
    let mut keys = group.connection.prepare_cached(
        "DELETE FROM idempotency_keys WHERE (rule, key) IN
         (SELECT rule, key FROM idempotency_keys WHERE accepted_at <= ?1 ORDER BY accepted_at LIMIT ?2)",
    )?;
    pruned.keys = keys.execute(params![unused.keys_until, left(&pruned)])?;
    let mut marks = group.connection.prepare_cached(
        "DELETE FROM matches WHERE (cursor, run) IN (SELECT cursor, run FROM matches WHERE cursor = ?1 LIMIT ?2)",
    )?;
    for cursor in &unused.cursors {
        pruned.matches += marks.execute(params![cursor, left(&pruned)])?;
    }
    let sql = format!("DELETE FROM endpoints WHERE number = ?1 AND {IS_UNUSED}");
    let mut endpoint = group.connection.prepare_cached(&sql)?;
    for number in unused.endpoints.iter().take(left(&pruned) as usize) {
        pruned.endpoints += endpoint.execute([number])?;
    }
    Ok(pruned)
}
