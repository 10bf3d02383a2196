//! Endpoints: which there are, whether they are sent to, and how they did.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::attempt::Attempt;
use crate::model::ids::EndpointId;
use crate::store::Result;
use crate::store::endpoints::{Disabled, EndpointRecord, EndpointStore};
use crate::store::sqlite::columns::{Micros, attempt, endpoint, micros};
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{Failure, SqliteStore};

#[async_trait]
impl EndpointStore for SqliteStore {
    async fn endpoints(&self) -> Result<Vec<EndpointRecord>> {
        self.read("listing endpoints", |_, connection| all(connection)).await
    }

    async fn last_attempts(&self, endpoint: &EndpointId, limit: usize) -> Result<Vec<Attempt>> {
        let endpoint = endpoint.clone();
        self.read("reading attempts", move |_, connection| last_attempts(connection, &endpoint, limit)).await
    }

    async fn set_disabled(&self, endpoint: &EndpointId, disabled: Option<Disabled>) -> Result<bool> {
        let endpoint = endpoint.clone();
        self.writer.submit("disabling an endpoint", 0, move |group| set(group, &endpoint, disabled.as_ref())).await
    }
}

fn all(connection: &Connection) -> std::result::Result<Vec<EndpointRecord>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT rule, webhook, disabled_at, disabled_cause,
             (SELECT COUNT(*) FROM deliveries INDEXED BY deliveries_due
              WHERE endpoint = endpoints.number AND state = 'pending' AND lease_until IS NULL),
             (SELECT MIN(created_at) FROM deliveries INDEXED BY deliveries_due
              WHERE endpoint = endpoints.number AND state = 'pending' AND lease_until IS NULL)
         FROM endpoints WHERE is_removed = 0 ORDER BY rule, webhook",
    )?;
    let record = |row: &rusqlite::Row<'_>| {
        let at: Option<Micros> = row.get(2)?;
        let cause: Option<String> = row.get(3)?;
        Ok(EndpointRecord {
            id: endpoint(row, 0)?,
            disabled: at.zip(cause).map(|(at, cause)| Disabled { at: at.0, cause }),
            pending: row.get::<_, i64>(4)?.cast_unsigned(),
            oldest_pending_at: row.get::<_, Option<Micros>>(5)?.map(|at| at.0),
        })
    };
    Ok(select.query_map([], record)?.collect::<std::result::Result<_, _>>()?)
}

fn last_attempts(
    connection: &Connection,
    endpoint: &EndpointId,
    limit: usize,
) -> std::result::Result<Vec<Attempt>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT a.number, started_at, duration_ms, outcome, status, error, address FROM
             (SELECT number FROM deliveries
              WHERE endpoint = (SELECT number FROM endpoints WHERE rule = ?1 AND webhook = ?2) AND attempts > 0
              ORDER BY number DESC LIMIT ?3) d
         JOIN attempts a ON a.delivery = d.number ORDER BY started_at DESC",
    )?;
    let rows = select.query_map(params![endpoint.rule, endpoint.webhook.0, limit as i64], attempt)?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

fn set(
    group: &mut Group<'_>,
    endpoint: &EndpointId,
    disabled: Option<&Disabled>,
) -> std::result::Result<bool, Failure> {
    let mut find = group
        .connection
        .prepare_cached("SELECT number FROM endpoints WHERE rule = ?1 AND webhook = ?2 AND is_removed = 0")?;
    let number: Option<i64> =
        find.query_row(params![endpoint.rule, endpoint.webhook.0], |row| row.get(0)).optional()?;
    match (number, disabled) {
        (Some(number), Some(disabled)) => disable(group, number, disabled)?,
        (Some(number), None) => {
            let mut enable = group
                .connection
                .prepare_cached("UPDATE endpoints SET disabled_at = NULL, disabled_cause = NULL WHERE number = ?1")?;
            enable.execute([number])?;
            group.endpoints.clear();
        }
        (None, _) => {}
    }
    Ok(number.is_some())
}

/// One that is disabled already keeps its first cause.
pub(super) fn disable(group: &mut Group<'_>, number: i64, disabled: &Disabled) -> std::result::Result<(), Failure> {
    let mut update = group.connection.prepare_cached(
        "UPDATE endpoints SET disabled_at = ?2, disabled_cause = ?3 WHERE number = ?1 AND disabled_at IS NULL",
    )?;
    update.execute(params![number, micros(disabled.at), disabled.cause])?;
    group.endpoints.clear();
    Ok(())
}
