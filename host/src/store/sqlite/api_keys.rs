//! Keys of the API.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use crate::model::Timestamp;
use crate::model::api_key::{ApiKey, ApiKeyId, Scopes};
use crate::store::Result;
use crate::store::api_keys::ApiKeyStore;
use crate::store::sqlite::columns::{Micros, Text, micros};
use crate::store::sqlite::{Failure, SqliteStore};

#[async_trait]
impl ApiKeyStore for SqliteStore {
    async fn add_api_key(&self, key: ApiKey) -> Result<()> {
        self.writer.submit("adding an API key", 0, move |group| insert(group.connection, &key)).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.read("reading API keys", |_, connection| all(connection)).await
    }

    async fn delete_api_key(&self, id: &ApiKeyId) -> Result<bool> {
        let id = id.clone();
        let delete = move |connection: &Connection| -> std::result::Result<bool, Failure> {
            Ok(connection.prepare_cached("DELETE FROM api_keys WHERE id = ?1")?.execute([&id.0])? > 0)
        };
        self.writer.submit("removing an API key", 0, move |group| delete(group.connection)).await
    }

    async fn note_api_key_use(&self, id: &ApiKeyId, day: Timestamp) -> Result<()> {
        let id = id.clone();
        let note = move |connection: &Connection| -> std::result::Result<(), Failure> {
            let mut update = connection.prepare_cached("UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1")?;
            update.execute(params![id.0, micros(day)])?;
            Ok(())
        };
        self.writer.submit("noting the use of an API key", 0, move |group| note(group.connection)).await
    }
}

fn insert(connection: &Connection, key: &ApiKey) -> std::result::Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO api_keys (id, name, hash, scopes, created_at, expires_at, last_used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        key.id.0,
        key.name,
        key.hash,
        key.scopes.to_string(),
        micros(key.created_at),
        key.expires_at.map(micros),
        key.last_used_at.map(micros),
    ])?;
    Ok(())
}

fn all(connection: &Connection) -> std::result::Result<Vec<ApiKey>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT id, name, hash, scopes, created_at, expires_at, last_used_at FROM api_keys ORDER BY created_at, id",
    )?;
    let keys = select.query_map([], |row| {
        let time = |column| row.get::<_, Option<Micros>>(column).map(|time| time.map(|time| time.0));
        Ok(ApiKey {
            id: ApiKeyId(row.get(0)?),
            name: row.get(1)?,
            hash: row.get(2)?,
            scopes: row.get::<_, Text<Scopes>>(3)?.0,
            created_at: row.get::<_, Micros>(4)?.0,
            expires_at: time(5)?,
            last_used_at: time(6)?,
        })
    })?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}
