//! Segments of the body log that no row names any more. A closed one never gets a new body, and a row that comes to name
//! a body takes it from a row that names it already: what is dead stays dead.

use rusqlite::Connection;

use crate::model::Timestamp;
use crate::store::retention::Pruned;
use crate::store::sqlite::Failure;
use crate::store::sqlite::read::Readers;
use crate::store::sqlite::writer::Group;

/// Segments that no committed row names, the open one among them where it is new.
pub(super) fn unnamed(readers: &Readers, connection: &Connection, limit: usize) -> Result<Vec<u32>, Failure> {
    let mut unnamed = Vec::new();
    for segment in readers.bodies.segments()? {
        if unnamed.len() < limit && !is_named(connection, segment)? {
            unnamed.push(segment);
        }
    }
    Ok(unnamed)
}

/// Closes the open segment where it is old, and says which of these are closed and still not named: here also rows
/// count that are not committed yet.
pub(super) fn closed(group: &mut Group<'_>, segments: Vec<u32>, now: Timestamp) -> Result<Vec<u32>, Failure> {
    group.log.close_when_old(now)?;
    let open = group.log.open_segment();
    let mut dead = Vec::new();
    for segment in segments {
        if segment < open && !is_named(group.connection, segment)? {
            dead.push(segment);
        }
    }
    Ok(dead)
}

pub(super) fn delete(readers: &Readers, segments: &[u32]) -> Result<Pruned, Failure> {
    let mut pruned = Pruned::default();
    for segment in segments {
        pruned.body_bytes += readers.bodies.delete(*segment)?;
    }
    Ok(pruned)
}

fn is_named(connection: &Connection, segment: u32) -> Result<bool, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM payloads WHERE segment = ?1)
             OR EXISTS (SELECT 1 FROM deliveries WHERE segment = ?1)",
    )?;
    Ok(select.query_row([segment], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::time::Duration;

    use super::*;
    use crate::clock::after;
    use crate::store::sqlite::body_log::tests::plain_log;
    use crate::store::sqlite::{connect, migrate};

    #[test]
    fn a_body_that_is_not_committed_yet_keeps_its_segment_and_the_open_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connect(&folder.path().join("runhook.db")).unwrap();
        migrate(&mut connection).unwrap();
        let mut log = plain_log(&folder.path().join("bodies"));
        let (endpoints, changed) = (&mut HashMap::new(), &mut HashSet::new());
        let mut group = Group { connection: &connection, log: &mut log, endpoints, changed };
        let found_before = vec![group.log.open_segment()];
        let start = Timestamp::UNIX_EPOCH;
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        group.log.append(b"body").unwrap();
        connection
            .execute_batch(
                "INSERT INTO payloads (id, rule, accepted_at, is_pending, segment, offset, length, checksum)
                VALUES (zeroblob(16), zeroblob(16), 0, 1, 1, 0, 4, 0)",
            )
            .unwrap();
        let mut closed = |hours| {
            let now = after(start, Duration::from_hours(hours));
            closed(&mut group, found_before.clone(), now).unwrap()
        };
        assert!(closed(0).is_empty());
        assert!(closed(24).is_empty(), "the group may still be committed");
        connection.execute_batch("DELETE FROM payloads").unwrap();
        assert_eq!(closed(24), [1]);
        connection.execute_batch("ROLLBACK; BEGIN IMMEDIATE").unwrap();
        group.log.append(b"body").unwrap();
        let open = vec![group.log.open_segment()];
        assert!(super::closed(&mut group, open, start).unwrap().is_empty(), "it is being written");
    }
}
