//! How far each rule has looked, and FAN OUT's first half: what a step through a window found.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::Timestamp;
use crate::model::ids::RuleId;
use crate::model::rule::{Rule, RunSource};
use crate::store::runs::{Backfill, BuiltPayload, Closing, Cursor, Progress};
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::{Micros, micros};
use crate::store::sqlite::projects;
use crate::store::sqlite::writer::Group;

const CURSOR: &str = "SELECT c.number, c.rule, p.id, c.looked_at, c.window_start, c.window_end, c.head, c.parts, \
     c.backfill_from, c.backfill_head, c.is_parked FROM cursors c JOIN projects p ON p.number = c.project WHERE c.rule = ?1";

struct Numbered {
    number: i64,
    cursor: Cursor,
    is_parked: bool,
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Micros>>(column)?.map(|time| time.0));
    let closing = match (time(5)?, row.get(6)?) {
        (Some(end), Some(head)) => Some(Closing { end, head, parts: row.get(7)? }),
        _ => None,
    };
    let backfill = match (time(8)?, row.get(9)?) {
        (Some(from), Some(head)) => Some(Backfill { from, head }),
        _ => None,
    };
    let cursor = Cursor {
        rule: row.get(1)?,
        project: row.get(2)?,
        looked_at: row.get(3)?,
        window_start: row.get::<_, Micros>(4)?.0,
        closing,
        backfill,
    };
    Ok(Numbered { number: row.get(0)?, cursor, is_parked: row.get(10)? })
}

pub(super) fn cursor(connection: &Connection, rule: RuleId) -> Result<Option<Cursor>, Failure> {
    Ok(find(connection, rule)?.filter(|found| !found.is_parked).map(|found| found.cursor))
}

fn find(connection: &Connection, rule: RuleId) -> Result<Option<Numbered>, Failure> {
    Ok(connection.prepare_cached(CURSOR)?.query_row([rule], numbered).optional()?)
}

/// Gives a rule that has a project its cursor, or parks it. One that exists stays where it is, unless the rule
/// looks at another project now.
pub(super) fn place(group: &Group<'_>, rule: &Rule, now: Timestamp) -> Result<(), Failure> {
    let Some(source) = &rule.source else { return park(group, rule.id) };
    let stored = find(group.connection, rule.id)?;
    let is_there = |stored: &Numbered| stored.cursor.project == source.project.id && !stored.is_parked;
    if stored.as_ref().is_some_and(is_there) {
        return Ok(());
    }
    let project = projects::number(group.connection, source.project.id)?
        .ok_or_else(|| Failure::Missing(format!("there is no project {}", source.project.id)))?;
    let last: i64 =
        group.connection.prepare_cached("SELECT last FROM commit_order")?.query_row([], |row| row.get(0))?;
    match stored {
        Some(stored) => turn_to(group, stored.number, project, last, now),
        None => begin(group, rule.id, source, project, last, now),
    }
}

/// What was there before the rule counts only as far as it asks for it.
fn begin(
    group: &Group<'_>,
    rule: RuleId,
    source: &RunSource,
    project: i64,
    last: i64,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO cursors (rule, project, looked_at, window_start, backfill_from, backfill_head)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![
        rule,
        project,
        if source.backfill_from.is_some() { 0 } else { last },
        micros(now).max(last_window_end(group.connection, rule)?),
        source.backfill_from.map(micros),
        source.backfill_from.map(|_| last),
    ])?;
    Ok(())
}

/// The rule looks at another project from now on, or looks again, at what changes there from now on.
fn turn_to(group: &Group<'_>, cursor: i64, project: i64, last: i64, now: Timestamp) -> Result<(), Failure> {
    let mut update = group.connection.prepare_cached(
        "UPDATE cursors SET project = ?2, looked_at = ?3, window_start = max(?4, ifnull(window_end, window_start)),
             window_end = NULL, head = NULL, parts = 0, is_parked = 0, backfill_from = NULL, backfill_head = NULL
         WHERE number = ?1",
    )?;
    update.execute(params![cursor, project, last, micros(now)])?;
    Ok(())
}

/// The rule looks for no runs any more. What it has sent stays known, for the time when it looks again.
fn park(group: &Group<'_>, rule: RuleId) -> Result<(), Failure> {
    group.connection.prepare_cached("UPDATE cursors SET is_parked = 1 WHERE rule = ?1")?.execute([rule])?;
    Ok(())
}

/// A rule that was deleted and made again under its id does not open a window twice.
fn last_window_end(connection: &Connection, rule: RuleId) -> Result<i64, Failure> {
    let mut select =
        connection.prepare_cached("SELECT MAX(window_end) FROM payloads WHERE rule = ?1 AND part IS NOT NULL")?;
    Ok(select.query_row([rule], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(i64::MIN))
}

pub(super) fn remove(group: &Group<'_>, rule: RuleId) -> Result<(), Failure> {
    group.connection.prepare_cached("DELETE FROM cursors WHERE rule = ?1")?.execute([rule])?;
    Ok(())
}

pub(super) fn advance(group: &mut Group<'_>, progress: &Progress) -> Result<bool, Failure> {
    let Some(stored) = find(group.connection, progress.before.rule)? else { return Ok(false) };
    if stored.is_parked || !is_as_found(&stored.cursor, &progress.before) {
        return Ok(false);
    }
    if let Some(payload) = &progress.payload {
        insert(group, stored.number, progress.before.rule, payload, progress.now)?;
    }
    let after = &progress.after;
    let mut update = group.connection.prepare_cached(
        "UPDATE cursors SET looked_at = ?2, window_start = ?3, window_end = ?4, head = ?5, parts = ?6 WHERE number = ?1",
    )?;
    update.execute(params![
        stored.number,
        after.looked_at,
        micros(after.window_start),
        after.closing.map(|closing| micros(closing.end)),
        after.closing.map(|closing| closing.head),
        after.closing.map_or(0, |closing| closing.parts),
    ])?;
    Ok(true)
}

/// Windows without runs are not written down one by one: the start that the rule knows may be ahead of the stored one.
fn is_as_found(stored: &Cursor, before: &Cursor) -> bool {
    stored.project == before.project
        && stored.looked_at == before.looked_at
        && stored.closing == before.closing
        && stored.window_start <= before.window_start
}

fn insert(
    group: &mut Group<'_>,
    cursor: i64,
    rule: RuleId,
    payload: &BuiltPayload,
    now: Timestamp,
) -> Result<(), Failure> {
    let body = group.log.append(&payload.document)?;
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO payloads (id, rule, accepted_at, is_pending, segment, offset, length, checksum,
             window_start, window_end, part)
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING number",
    )?;
    let number: i64 = insert.query_row(
        params![
            payload.id,
            rule,
            micros(now),
            body.segment,
            body.offset.cast_signed(),
            body.length.cast_signed(),
            body.checksum,
            micros(payload.window.0),
            micros(payload.window.1),
            payload.part,
        ],
        |row| row.get(0),
    )?;
    // A run may have been pruned since it was looked at.
    let mut mark = group.connection.prepare_cached(
        "INSERT INTO matches (cursor, run, payload) SELECT ?1, number, ?3 FROM runs WHERE number = ?2",
    )?;
    for run in &payload.runs {
        mark.execute(params![cursor, run, number])?;
    }
    Ok(())
}
