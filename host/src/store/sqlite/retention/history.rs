//! Payloads that are past their time, with their deliveries and attempts.

use rusqlite::{Connection, params};

use crate::store::retention::Pruned;
use crate::store::sqlite::Failure;
use crate::store::sqlite::writer::Group;

/// Nothing is to be done for the payload, and nothing happened to it since ?1. A replay is younger than what it replays,
/// and an attempt may be much younger than its delivery where no host ran.
const IS_OVER: &str = "accepted_at < ?1 AND is_pending = 0 AND NOT EXISTS (
    SELECT 1 FROM deliveries d WHERE d.payload = payloads.number AND (
        d.state = 'pending' OR d.created_at >= ?1
        OR EXISTS (SELECT 1 FROM attempts a WHERE a.delivery = d.number AND a.started_at >= ?1)))";

/// Numbers, the oldest first.
pub(super) fn old(connection: &Connection, before: i64, limit: usize) -> Result<Vec<i64>, Failure> {
    let sql = format!("SELECT number FROM payloads WHERE {IS_OVER} ORDER BY accepted_at LIMIT ?2");
    let mut select = connection.prepare_cached(&sql)?;
    Ok(select.query_map(params![before, limit as i64], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// A payload that is being replayed stays.
pub(super) fn remove(group: &Group<'_>, payloads: &[i64], before: i64, limit: usize) -> Result<Pruned, Failure> {
    let connection = group.connection;
    let mut row = connection.prepare_cached(&format!("DELETE FROM payloads WHERE number = ?2 AND {IS_OVER}"))?;
    let mut attempts = connection
        .prepare_cached("DELETE FROM attempts WHERE delivery IN (SELECT number FROM deliveries WHERE payload = ?1)")?;
    let mut deliveries = connection.prepare_cached("DELETE FROM deliveries WHERE payload = ?1")?;
    // Its number may be another's one day.
    let mut unnamed = connection.prepare_cached("UPDATE matches SET payload = NULL WHERE payload = ?1")?;
    let mut pruned = Pruned::default();
    let mut others = 0;
    for number in payloads {
        if pruned.rows() + others >= limit {
            break;
        }
        if row.execute(params![before, number])? == 0 {
            continue;
        }
        others += attempts.execute([number])? + unnamed.execute([number])?;
        pruned.deliveries += deliveries.execute([number])?;
        pruned.payloads += 1;
    }
    Ok(pruned)
}
