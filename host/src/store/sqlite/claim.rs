//! Claims: due deliveries, fairly over endpoints; and leases that ran out.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::limits::SMALL_BODY_BYTES_MAX;
use crate::model::Timestamp;
use crate::model::attempt::{Attempt, Outcome};
use crate::model::delivery::Claim;
use crate::model::ids::{DeliveryId, EndpointId, HostId};
use crate::model::payload::Body;
use crate::store::sqlite::Failure;
use crate::store::sqlite::body_log::BodyRef;
use crate::store::sqlite::columns::{Micros, body_ref, endpoint, insert_attempt, micros};
use crate::store::sqlite::writer::Group;
use crate::store::{ClaimRequest, Waiting};

/// A claim whose body is still in the log.
pub(super) struct ClaimedRow {
    pub(super) delivery: DeliveryId,
    pub(super) attempt: u32,
    pub(super) claimed_at: Timestamp,
    pub(super) body: BodyRef,
    endpoint: EndpointId,
    uncounted: u32,
    fence: i64,
    owner: HostId,
    lease_until: Timestamp,
    content_type: String,
    headers: Vec<(String, String)>,
}

impl ClaimedRow {
    pub(super) fn into_claim(self, bytes: Bytes) -> Claim {
        Claim {
            delivery: self.delivery,
            endpoint: self.endpoint,
            attempt: self.attempt,
            uncounted: self.uncounted,
            fence: self.fence,
            owner: self.owner,
            lease_until: self.lease_until,
            body: Body { content_type: self.content_type, headers: self.headers, bytes },
        }
    }
}

pub(super) fn claim(group: &mut Group<'_>, request: &ClaimRequest) -> Result<Vec<ClaimedRow>, Failure> {
    end_leases(group, request.now)?;
    let due = due(group, request)?;
    let (mut claimed, mut bytes) = (Vec::new(), LargeBodies::default());
    for (number, share) in due {
        let row = row(group, number, request)?;
        if bytes.take(&row, share, request) {
            mark(group, number, request)?;
            claimed.push(row);
        }
    }
    Ok(claimed)
}

/// Bytes of large bodies that were claimed.
#[derive(Default)]
struct LargeBodies {
    all: u64,
    by_endpoint: HashMap<EndpointId, u64>,
}

impl LargeBodies {
    /// Whether there is room for the row's body, which it has then.
    fn take(&mut self, row: &ClaimedRow, share: usize, request: &ClaimRequest) -> bool {
        if row.body.length <= SMALL_BODY_BYTES_MAX as u64 {
            return true;
        }
        let at_endpoint = self.by_endpoint.entry(row.endpoint.clone()).or_default();
        let has_room = self.all < request.bytes_max as u64 && *at_endpoint < share as u64;
        if has_room {
            self.all += row.body.length;
            *at_endpoint += row.body.length;
        }
        has_room
    }
}

/// Row numbers of due deliveries, each with the bytes that its endpoint has room for: the oldest of each endpoint first,
/// then the second of each, up to the limit.
fn due(group: &Group<'_>, request: &ClaimRequest) -> Result<Vec<(i64, usize)>, Failure> {
    let mut lines = Vec::new();
    let mut oldest = group.connection.prepare_cached(
        "SELECT number FROM deliveries
         WHERE endpoint = ?1 AND state = 'pending' AND lease_until IS NULL AND next_attempt_at <= ?2
         ORDER BY next_attempt_at, number LIMIT ?3",
    )?;
    for_each_line(group.connection, |line| {
        let share = request.room.at(&line.id);
        let free = share.claims.min(request.limit);
        if free == 0 {
            return Ok(());
        }
        if line.is_ordered {
            let head = head(group.connection, line)?.filter(|(_, due)| *due <= request.now);
            lines.extend(head.map(|(number, _)| VecDeque::from([(number, share.bytes)])));
        } else {
            let asked = params![line.number, micros(request.now), free as i64];
            let rows = oldest.query_map(asked, |row| Ok((row.get(0)?, share.bytes)))?;
            lines.push(rows.collect::<Result<VecDeque<_>, _>>()?);
        }
        Ok(())
    })?;
    // Whose turn is first moves on with time, so that a limit smaller than the number of endpoints starves nobody.
    if !lines.is_empty() {
        let turn = micros(request.now).unsigned_abs() as usize % lines.len();
        lines.rotate_left(turn);
    }
    Ok(take_turns(lines, request.limit))
}

/// An endpoint with pending deliveries that nobody has claimed.
struct Line {
    number: i64,
    id: EndpointId,
    is_ordered: bool,
}

/// Each endpoint that is sent to and for which something waits.
fn for_each_line(connection: &Connection, mut each: impl FnMut(&Line) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut next = connection.prepare_cached(
        "SELECT e.number, e.rule, e.webhook, e.is_ordered, e.disabled_at IS NULL FROM endpoints e WHERE e.number =
         (SELECT MIN(endpoint) FROM deliveries WHERE state = 'pending' AND lease_until IS NULL AND endpoint > ?1)",
    )?;
    let line = |row: &rusqlite::Row<'_>| {
        let line = Line { number: row.get(0)?, id: endpoint(row, 1)?, is_ordered: row.get(3)? };
        Ok((line, row.get::<_, bool>(4)?))
    };
    let mut last = i64::MIN;
    while let Some((line, is_sent_to)) = next.query_row([last], line).optional()? {
        last = line.number;
        if is_sent_to {
            each(&line)?;
        }
    }
    Ok(())
}

/// Whose turn it is at an ordered endpoint, and when: none while it is being attempted, or while an earlier payload is
/// still to be fanned out.
fn head(connection: &Connection, line: &Line) -> Result<Option<(i64, Timestamp)>, Failure> {
    let mut first = connection.prepare_cached(
        "SELECT number, next_attempt_at, lease_until IS NULL
             AND NOT EXISTS (SELECT 1 FROM payloads WHERE is_pending = 1 AND payloads.number < turn AND rule = ?2)
         FROM deliveries WHERE endpoint = ?1 AND state = 'pending' AND turn IS NOT NULL
         ORDER BY turn, number LIMIT 1",
    )?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, Micros>(1)?.0, row.get::<_, bool>(2)?));
    let head = first.query_row(params![line.number, line.id.rule], row).optional()?;
    Ok(head.filter(|(_, _, is_free)| *is_free).map(|(number, due, _)| (number, due)))
}

pub(super) fn waiting(connection: &Connection, now: Timestamp) -> Result<Waiting, Failure> {
    let mut overdue = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM deliveries
         WHERE endpoint = ?1 AND state = 'pending' AND lease_until IS NULL AND next_attempt_at <= ?2)",
    )?;
    let mut later = connection.prepare_cached(
        "SELECT MIN(next_attempt_at) FROM deliveries
         WHERE endpoint = ?1 AND state = 'pending' AND lease_until IS NULL AND next_attempt_at > ?2",
    )?;
    let mut lease =
        connection.prepare_cached("SELECT MIN(lease_until) FROM deliveries WHERE lease_until IS NOT NULL")?;
    let next: Option<Micros> = lease.query_row([], |row| row.get(0))?;
    let mut waiting = Waiting { is_overdue: false, next: next.map(|next| next.0) };
    for_each_line(connection, |line| {
        let (is_overdue, next) = if line.is_ordered {
            let due = head(connection, line)?.map(|(_, due)| due);
            (due.is_some_and(|due| due <= now), due.filter(|due| *due > now))
        } else {
            let asked = params![line.number, micros(now)];
            let next: Option<Micros> = later.query_row(asked, |row| row.get(0))?;
            (overdue.query_row(asked, |row| row.get(0))?, next.map(|next| next.0))
        };
        waiting.is_overdue |= is_overdue;
        waiting.next = waiting.next.into_iter().chain(next).min();
        Ok(())
    })?;
    Ok(waiting)
}

fn take_turns<T>(mut lines: Vec<VecDeque<T>>, limit: usize) -> Vec<T> {
    let mut taken = Vec::new();
    while !lines.is_empty() && taken.len() < limit {
        taken.extend(lines.iter_mut().filter_map(VecDeque::pop_front));
        lines.retain(|line| !line.is_empty());
    }
    taken.truncate(limit);
    taken
}

/// The delivery as it is once it is marked.
fn row(group: &Group<'_>, number: i64, request: &ClaimRequest) -> Result<ClaimedRow, Failure> {
    let mut select = group.connection.prepare_cached(
        "SELECT d.id, attempts + 1, uncounted, fence + 1, segment, offset, length, checksum, content_type, headers,
             rule, webhook
         FROM deliveries d JOIN endpoints e ON e.number = d.endpoint WHERE d.number = ?1",
    )?;
    let (row, headers) = select.query_row([number], |row| {
        let claimed = ClaimedRow {
            delivery: row.get(0)?,
            attempt: row.get(1)?,
            uncounted: row.get(2)?,
            fence: row.get(3)?,
            body: body_ref(row, 4)?,
            content_type: row.get(8)?,
            headers: Vec::new(),
            claimed_at: request.now,
            endpoint: endpoint(row, 10)?,
            owner: request.owner,
            lease_until: request.lease_until,
        };
        Ok((claimed, row.get::<_, Option<String>>(9)?))
    })?;
    let headers = headers.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default();
    Ok(ClaimedRow { headers, ..row })
}

fn mark(group: &Group<'_>, number: i64, request: &ClaimRequest) -> Result<(), Failure> {
    let mut update = group.connection.prepare_cached(
        "UPDATE deliveries SET attempts = attempts + 1, fence = fence + 1, owner = ?2, claimed_at = ?3, lease_until = ?4
         WHERE number = ?1",
    )?;
    update.execute(params![number, request.owner, micros(request.now), micros(request.lease_until)])?;
    Ok(())
}

/// Undoes a claim of which nothing was sent: its attempt was never made.
pub(super) fn give_back(group: &mut Group<'_>, row: &ClaimedRow) -> Result<(), Failure> {
    let mut update = group.connection.prepare_cached(
        "UPDATE deliveries SET attempts = attempts - 1, owner = NULL, claimed_at = NULL, lease_until = NULL
         WHERE id = ?1 AND fence = ?2 AND owner IS NOT NULL",
    )?;
    update.execute(params![row.delivery, row.fence])?;
    Ok(())
}

/// Ends the leases that ran out by then: each attempt that nobody saw the end of is on record as interrupted, and the
/// first of a delivery does not count against its budget.
pub(super) fn end_leases(group: &mut Group<'_>, by: Timestamp) -> Result<u64, Failure> {
    let mut expired = group
        .connection
        .prepare_cached("SELECT number, attempts, claimed_at FROM deliveries WHERE lease_until <= ?1")?;
    let rows = expired.query_map([micros(by)], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Micros>(2)?.0)))?;
    let rows = rows.collect::<Result<Vec<(i64, u32, Timestamp)>, _>>()?;
    let mut free = group.connection.prepare_cached(
        "UPDATE deliveries SET owner = NULL, claimed_at = NULL, lease_until = NULL, uncounted = MAX(uncounted, 1)
         WHERE number = ?1",
    )?;
    for (delivery, number, started_at) in &rows {
        let attempt = Attempt {
            number: *number,
            started_at: *started_at,
            duration_ms: None,
            outcome: Outcome::Interrupted,
            status: None,
            error: Some("the host stopped before it saw the end".to_owned()),
            address: None,
        };
        insert_attempt(group.connection, *delivery, &attempt)?;
        free.execute([delivery])?;
    }
    Ok(rows.len() as u64)
}

/// See [`crate::store::Store::clock_was_set_back`].
pub(super) fn clock_was_set_back(
    group: &mut Group<'_>,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<u64, Failure> {
    let mut shorten =
        group.connection.prepare_cached("UPDATE deliveries SET lease_until = ?1 WHERE lease_until > ?1")?;
    shorten.execute([micros(lease_until)])?;
    let mut hasten = group.connection.prepare_cached(
        "UPDATE deliveries SET next_attempt_at = ?1
         WHERE state = 'pending' AND lease_until IS NULL AND next_attempt_at > ?1 AND ?1 < COALESCE(
             (SELECT started_at FROM attempts WHERE delivery = deliveries.number AND attempts.number = deliveries.attempts),
             created_at)",
    )?;
    Ok(hasten.execute([micros(now)])? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_turns_up_to_the_limit() {
        let lines = vec![VecDeque::from([1, 2, 3]), VecDeque::from([10]), VecDeque::from([20, 21])];
        assert_eq!(take_turns(lines.clone(), 5), [1, 10, 20, 2, 21]);
        assert_eq!(take_turns(lines, 2), [1, 10]);
    }
}
