//! What is read without the writer, on connections of its own.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::delivery::{Delivery, DeliveryRecord, State};
use crate::model::ids::{DeliveryId, EndpointId, PayloadId, RuleId};
use crate::model::payload::PendingPayload;
use crate::store::sqlite::body_log::BodyReader;
use crate::store::sqlite::columns::{
    DELIVERY, FROM_DELIVERIES, Micros, Text, attempt, body_ref, delivery, endpoint, micros,
};
use crate::store::sqlite::{Failure, connect};
use crate::store::{DeliveryQuery, ReplaySource};

/// Connections that are kept for the next reads; more are made in a crowd and closed after it.
const IDLE_MAX: usize = 16;

/// Connections and open segments that wait to be used.
pub(super) struct Readers {
    database: PathBuf,
    idle: Mutex<Vec<Connection>>,
    pub(super) bodies: BodyReader,
}

impl Readers {
    pub(super) fn new(database: PathBuf, bodies: BodyReader) -> Self {
        Self { database, idle: Mutex::default(), bodies }
    }

    /// Runs `read` on an idle connection, or on a new one. All its statements see the database of one moment.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.database)?,
        };
        let result = read_at_once(&connection, read);
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        drop(idle);
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_at_once<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Dropping it ends it; there is nothing to commit.
    let transaction = connection.unchecked_transaction()?;
    read(&transaction)
}

pub(super) fn pending_payloads(
    connection: &Connection,
    behind: Option<PayloadId>,
    limit: usize,
) -> Result<Vec<(PayloadId, RuleId)>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT id, rule FROM payloads
         WHERE is_pending = 1 AND number > COALESCE((SELECT number FROM payloads WHERE id = ?1), -1)
         ORDER BY number LIMIT ?2",
    )?;
    let rows = select.query_map(params![behind, limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One that is not fanned out yet; `also_done` is whether one that is will do.
pub(super) fn payload(
    readers: &Readers,
    connection: &Connection,
    id: PayloadId,
    also_done: bool,
) -> Result<Option<PendingPayload>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT rule, accepted_at, segment, offset, length, checksum, part IS NOT NULL FROM payloads
         WHERE id = ?1 AND (is_pending = 1 OR ?2)",
    )?;
    let found = select
        .query_row(params![id, also_done], |row| {
            Ok((row.get(0)?, row.get::<_, Micros>(1)?.0, body_ref(row, 2)?, row.get(6)?))
        })
        .optional()?;
    let Some((rule, accepted_at, body, is_built)) = found else { return Ok(None) };
    Ok(Some(PendingPayload { id, rule, accepted_at, document: readers.bodies.read(body)?, is_built }))
}

pub(super) fn deliveries(connection: &Connection, query: &DeliveryQuery) -> Result<Vec<Delivery>, Failure> {
    let mut conditions = Vec::new();
    let mut values: Vec<Box<dyn rusqlite::ToSql>> = Vec::new();
    let mut add = |condition: &str, value: Box<dyn rusqlite::ToSql>| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(state) = query.state {
        add("d.state = ?", Box::new(state.as_str()));
    }
    if let Some(rule) = query.rule {
        add("d.endpoint IN (SELECT number FROM endpoints WHERE rule = ?)", Box::new(rule));
    }
    if let Some(payload) = query.payload {
        add("d.payload = (SELECT number FROM payloads WHERE id = ?)", Box::new(payload));
    }
    if let Some(plugin) = &query.plugin {
        add("d.plugin = ?", Box::new(plugin.to_string()));
    }
    if let Some(webhook) = &query.webhook {
        add("d.endpoint IN (SELECT number FROM endpoints WHERE webhook = ?)", Box::new(webhook.0.clone()));
    }
    if let Some(since) = query.since {
        add("d.created_at >= ?", Box::new(micros(since)));
    }
    if let Some(until) = query.until {
        add("d.created_at < ?", Box::new(micros(until)));
    }
    if let Some(cause) = &query.cause {
        add("instr(d.cause, ?) > 0", Box::new(cause.clone()));
    }
    if let Some(is_replayed) = query.is_replayed {
        add("? = EXISTS (SELECT 1 FROM deliveries r WHERE r.replay_of = d.id)", Box::new(is_replayed));
    }
    if let Some(before) = query.before {
        add("d.number < (SELECT number FROM deliveries WHERE id = ?)", Box::new(before));
    }
    add("true ORDER BY d.number DESC LIMIT ?", Box::new(query.limit as i64));
    let sql = format!("SELECT {DELIVERY} {FROM_DELIVERIES} WHERE {}", conditions.join(" AND "));
    let mut select = connection.prepare_cached(&sql)?;
    let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(AsRef::as_ref).collect();
    Ok(select.query_map(values.as_slice(), delivery)?.collect::<Result<_, _>>()?)
}

pub(super) fn delivery_record(connection: &Connection, id: DeliveryId) -> Result<Option<DeliveryRecord>, Failure> {
    let Some(delivery) = one(connection, id)? else { return Ok(None) };
    let mut select = connection.prepare_cached(
        "SELECT a.number, started_at, duration_ms, outcome, status, error, address FROM attempts a
         JOIN deliveries d ON d.number = a.delivery WHERE d.id = ?1 ORDER BY a.number",
    )?;
    let attempts = select.query_map([id], attempt)?.collect::<Result<_, _>>()?;
    Ok(Some(DeliveryRecord { delivery, attempts }))
}

pub(super) fn replay_source(
    readers: &Readers,
    connection: &Connection,
    id: DeliveryId,
) -> Result<Option<ReplaySource>, Failure> {
    let Some(delivery) = one(connection, id)? else { return Ok(None) };
    let source = payload(readers, connection, delivery.payload, true)?;
    Ok(source.map(|payload| ReplaySource { delivery, payload }))
}

fn one(connection: &Connection, id: DeliveryId) -> Result<Option<Delivery>, Failure> {
    let mut select = connection.prepare_cached(&format!("SELECT {DELIVERY} {FROM_DELIVERIES} WHERE d.id = ?1"))?;
    Ok(select.query_row(params![id], delivery).optional()?)
}

pub(super) fn ledger(connection: &Connection) -> Result<Vec<(EndpointId, State, u64)>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT e.rule, e.webhook, d.state, COUNT(*) FROM deliveries d JOIN endpoints e ON e.number = d.endpoint
         GROUP BY d.endpoint, d.state ORDER BY e.rule, e.webhook, d.state",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let count: i64 = row.get(3)?;
        Ok((endpoint(row, 0)?, row.get::<_, Text<State>>(2)?.0, count.cast_unsigned()))
    };
    Ok(select.query_map([], row)?.collect::<Result<_, _>>()?)
}
