//! What is held because a plugin was in quarantine.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{DeliveryId, EndpointId};
use crate::model::plugin::PluginName;
use crate::store::Result;
use crate::store::release::ReleaseStore;
use crate::store::sqlite::columns::{Text, endpoint};
use crate::store::sqlite::{Failure, SqliteStore};

#[async_trait]
impl ReleaseStore for SqliteStore {
    async fn quarantined(&self) -> Result<Vec<(EndpointId, PluginName)>> {
        self.read("looking for plugins that are waited for", |_, reader| groups(reader)).await
    }

    async fn held_by_quarantine(
        &self,
        endpoint: &EndpointId,
        plugin: &PluginName,
        behind: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeliveryId>> {
        let (endpoint, plugin) = (endpoint.clone(), plugin.clone());
        let find = move |reader: &Connection| held(reader, &endpoint, &plugin, behind, limit);
        self.read("looking for held deliveries", move |_, reader| find(reader)).await
    }
}

/// From one pair of the index to the next, so that the many deliveries of a pair are passed over.
fn groups(reader: &Connection) -> std::result::Result<Vec<(EndpointId, PluginName)>, Failure> {
    let mut next = reader.prepare_cached(
        "SELECT d.endpoint, d.plugin, e.rule, e.webhook FROM deliveries d JOIN endpoints e ON e.number = d.endpoint
         WHERE d.state = 'held' AND d.failure = 'quarantined' AND (d.endpoint, d.plugin) > (?1, ?2)
         ORDER BY d.endpoint, d.plugin LIMIT 1",
    )?;
    let mut groups = Vec::new();
    let mut last = (i64::MIN, String::new());
    loop {
        let row = |row: &rusqlite::Row<'_>| {
            let name = row.get::<_, Text<PluginName>>(1)?.0;
            Ok(((row.get(0)?, name.to_string()), (endpoint(row, 2)?, name)))
        };
        let Some((place, group)) = next.query_row(params![last.0, last.1], row).optional()? else { return Ok(groups) };
        last = place;
        groups.push(group);
    }
}

fn held(
    reader: &Connection,
    endpoint: &EndpointId,
    plugin: &PluginName,
    behind: Option<DeliveryId>,
    limit: usize,
) -> std::result::Result<Vec<DeliveryId>, Failure> {
    let mut select = reader.prepare_cached(
        "SELECT id FROM deliveries
         WHERE endpoint = (SELECT number FROM endpoints WHERE rule = ?1 AND webhook = ?2) AND plugin = ?3
             AND state = 'held' AND failure = 'quarantined'
             AND number > ifnull((SELECT number FROM deliveries WHERE id = ?4), 0)
         ORDER BY number LIMIT ?5",
    )?;
    let values = params![endpoint.rule, endpoint.webhook.0, plugin.as_str(), behind, limit as i64];
    Ok(select.query_map(values, |row| row.get(0))?.collect::<std::result::Result<_, _>>()?)
}
