//! Between the model's types and SQLite's columns.

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, params};
use uuid::Uuid;

use crate::model::Timestamp;
use crate::model::attempt::{Attempt, Outcome};
use crate::model::delivery::{Delivery, State};
use crate::model::ids::{
    DatasetId, DeliveryId, EndpointId, ExampleId, FeedbackId, HostId, PayloadId, ProjectId, RuleId, RunId, WebhookId,
    WorkspaceId,
};
use crate::model::plugin::{PluginFailureKind, PluginName};
use crate::store::sqlite::body_log::BodyRef;

/// Microseconds since 1970: the store's precision.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A column of [`micros`].
pub(super) struct Micros(pub(super) Timestamp);

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        Timestamp::from_microsecond(micros).map(Self).map_err(|_| FromSqlError::OutOfRange(micros))
    }
}

/// A column of a UUID's 16 bytes.
pub(super) struct Id(pub(super) Uuid);

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Uuid::from_slice(value.as_blob()?).map(Self).map_err(FromSqlError::other)
    }
}

macro_rules! id_column {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.0.as_bytes().as_slice()))
            }
        }
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Ok(Self(Id::column_result(value)?.0))
            }
        }
    )*};
}
id_column!(RuleId, PayloadId, DeliveryId, HostId, RunId, ProjectId, FeedbackId, DatasetId, ExampleId, WorkspaceId);

/// A column of text that the model knows how to read.
pub(super) struct Text<T>(pub(super) T);

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Text<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

impl FromSql for Outcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(FromSqlError::InvalidType)
    }
}

/// Four columns from `first`: segment, offset, length, checksum.
pub(super) fn body_ref(row: &Row<'_>, first: usize) -> rusqlite::Result<BodyRef> {
    Ok(BodyRef {
        segment: row.get(first)?,
        offset: row.get::<_, i64>(first + 1)?.cast_unsigned(),
        length: row.get::<_, i64>(first + 2)?.cast_unsigned(),
        checksum: row.get(first + 3)?,
    })
}

/// The columns of [`delivery`].
pub(super) const DELIVERY: &str = "d.id, p.id, e.rule, e.webhook, d.state, d.cause, d.created_at, d.next_attempt_at, \
     d.attempts, d.length, d.replay_of, d.plugin, d.failure";

/// What [`DELIVERY`] is selected from.
pub(super) const FROM_DELIVERIES: &str =
    "FROM deliveries d JOIN payloads p ON p.number = d.payload JOIN endpoints e ON e.number = d.endpoint";

pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        payload: row.get(1)?,
        endpoint: endpoint(row, 2)?,
        state: row.get::<_, Text<State>>(4)?.0,
        cause: row.get(5)?,
        created_at: row.get::<_, Micros>(6)?.0,
        next_attempt_at: row.get::<_, Option<Micros>>(7)?.map(|time| time.0),
        attempts: row.get(8)?,
        body_bytes: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        replay_of: row.get(10)?,
        plugin: row.get::<_, Option<Text<PluginName>>>(11)?.map(|name| name.0),
        failure: row.get::<_, Option<Text<PluginFailureKind>>>(12)?.map(|kind| kind.0),
    })
}

/// Two columns from `first`: rule, webhook.
pub(super) fn endpoint(row: &Row<'_>, first: usize) -> rusqlite::Result<EndpointId> {
    Ok(EndpointId { rule: row.get(first)?, webhook: WebhookId(row.get(first + 1)?) })
}

pub(super) fn insert_attempt(
    transaction: &rusqlite::Connection,
    delivery: i64,
    attempt: &Attempt,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO attempts (delivery, number, started_at, duration_ms, outcome, status, error, address)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![
        delivery,
        attempt.number,
        micros(attempt.started_at),
        attempt.duration_ms.map(u64::cast_signed),
        attempt.outcome.as_str(),
        attempt.status,
        attempt.error,
        attempt.address.map(|address| address.to_string()),
    ])?;
    Ok(())
}

pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        number: row.get(0)?,
        started_at: row.get::<_, Micros>(1)?.0,
        duration_ms: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        outcome: row.get(3)?,
        status: row.get(4)?,
        error: row.get(5)?,
        address: row.get::<_, Option<Text<std::net::SocketAddr>>>(6)?.map(|address| address.0),
    })
}
