//! The `Store` over one SQLite file and a log of bodies beside it, for one host on one machine.
//!
//! Every write goes through one thread that commits in groups (`writer`); reads use connections of their own. SQLite
//! runs in WAL mode with `synchronous=FULL`, so that a commit is on disk before anybody hears of it. Bodies are in
//! `body_log`; rows point into it. The data directory belongs to one process at a time.

mod accept;
mod api_keys;
mod body_log;
mod claim;
mod columns;
mod complete;
mod cursors;
mod dataset_store;
mod datasets;
mod endpoints;
mod examples;
mod fan_out;
mod generations;
mod ingest;
mod offload;
mod projects;
mod read;
mod release;
mod retention;
mod rules;
mod run_store;
mod runs;
mod seals;
mod segments;
mod stored_access;
mod stored_rule;
mod writer;

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
pub use segments::Bodies;

use crate::limits;
use crate::model::Timestamp;
use crate::model::attempt::{Attempt, Outcome};
use crate::model::delivery::{Claim, Delivery, DeliveryRecord, NewDelivery, Next, State};
use crate::model::ids::{DeliveryId, EndpointId, PayloadId, RuleId};
use crate::model::payload::{Body, PendingPayload};
use crate::model::rule::Rule;
use crate::secrets::Keyring;
use crate::store::sqlite::body_log::{BodyLog, BodyReader};
use crate::store::sqlite::claim::ClaimedRow;
use crate::store::sqlite::read::Readers;
use crate::store::sqlite::writer::Writer;
use crate::store::{
    Accepted, Cancelled, ClaimNow, ClaimRequest, DeliveryQuery, NewPayload, ReplaySource, Result, RuleChanges, Store,
    StoreError, Waiting,
};

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_spine.sql"),
    include_str!("../../migrations/sqlite/0002_runs.sql"),
    include_str!("../../migrations/sqlite/0003_datasets.sql"),
    include_str!("../../migrations/sqlite/0004_offload.sql"),
    include_str!("../../migrations/sqlite/0005_failed_plugins.sql"),
    include_str!("../../migrations/sqlite/0006_endpoints.sql"),
    include_str!("../../migrations/sqlite/0007_api_keys.sql"),
];

/// One host's store.
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
    keyring: Arc<Keyring>,
    _lock: File,
}

impl SqliteStore {
    /// Opens the data directory, making it (mode 0700) where it is not there.
    ///
    /// # Errors
    /// That another host has it, that it was written by a newer version, or what the system says.
    pub fn open(data_dir: &Path, keyring: Arc<Keyring>) -> Result<Self> {
        Self::open_with(data_dir, keyring, Bodies::Plain)
    }

    /// The same, with bodies kept like that from now on. What is there already stays as it is, and readable.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and that a body's key cannot be opened.
    pub fn open_with(data_dir: &Path, keyring: Arc<Keyring>, kept: Bodies) -> Result<Self> {
        let lock = prepare_folder(data_dir).map_err(failed("opening the data directory"))?;
        let database = data_dir.join("runhook.db");
        let mut connection = connect(&database).map_err(failed("opening the database"))?;
        migrate(&mut connection)?;
        let bodies = data_dir.join("bodies");
        let log = BodyLog::open(&bodies, keyring.clone(), kept).map_err(failed("opening the body log"))?;
        let readers = Arc::new(Readers::new(database, BodyReader::new(&bodies, keyring.clone())));
        Ok(Self { writer: Writer::start(connection, log)?, readers, keyring, _lock: lock })
    }

    async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        read: impl FnOnce(&Readers, &Connection) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let readers = self.readers.clone();
        let result = tokio::task::spawn_blocking(move || readers.with(|connection| read(&readers, connection))).await;
        result.map_err(failed(context))?.map_err(failed(context))
    }

    /// Fetches the bodies of claims. One that is lost ends its delivery: no attempt could ever send it. One that cannot
    /// be read right now gives its claim back.
    async fn with_bodies(&self, rows: Vec<ClaimedRow>) -> Result<Vec<Claim>> {
        let read_all = move |readers: &Readers, _: &Connection| {
            Ok(rows.into_iter().map(|row| (readers.bodies.read(row.body), row)).collect::<Vec<_>>())
        };
        let mut claims = Vec::new();
        for (bytes, row) in self.read("reading bodies", read_all).await? {
            match bytes {
                Ok(bytes) => claims.push(row.into_claim(bytes)),
                Err(error) if body_log::is_lost(&error) => self.give_up(row, error.to_string()).await?,
                Err(error) => {
                    tracing::error!(delivery = %row.delivery, %error, "cannot read a body; trying again");
                    self.writer.submit("giving a claim back", 0, move |group| claim::give_back(group, &row)).await?;
                }
            }
        }
        Ok(claims)
    }

    async fn give_up(&self, row: ClaimedRow, error: String) -> Result<()> {
        tracing::error!(delivery = %row.delivery, %error, "a body cannot be read");
        let attempt = Attempt {
            number: row.attempt,
            started_at: row.claimed_at,
            duration_ms: None,
            outcome: Outcome::Interrupted,
            status: None,
            error: Some(error),
            address: None,
        };
        let claim = row.into_claim(bytes::Bytes::new());
        self.complete(&claim, attempt, Next::Failed).await.map(|_| ())
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn change_rules(&self, changes: RuleChanges, now: Timestamp) -> Result<Cancelled> {
        let keyring = self.keyring.clone();
        self.writer.submit("changing rules", 0, move |group| rules::change(group, &changes, &keyring, now)).await
    }

    async fn rules(&self) -> Result<Vec<Rule>> {
        let keyring = self.keyring.clone();
        // In turn with what seals them anew, so that no key goes between reading and opening.
        self.writer.submit("reading rules", 0, move |group| rules::all(group.connection, &keyring)).await
    }

    async fn accept(&self, payload: NewPayload) -> Result<Accepted> {
        let size = payload.document.len();
        self.writer.try_submit("accepting a payload", size, move |group| accept::accept(group, &payload)).await
    }

    async fn pending_payloads(&self, behind: Option<PayloadId>, limit: usize) -> Result<Vec<(PayloadId, RuleId)>> {
        self.read("looking for payloads", move |_, connection| read::pending_payloads(connection, behind, limit)).await
    }

    async fn payload(&self, id: PayloadId) -> Result<Option<PendingPayload>> {
        self.read("reading a payload", move |readers, connection| read::payload(readers, connection, id, false)).await
    }

    async fn fan_out(
        &self,
        payload: &PendingPayload,
        deliveries: Vec<NewDelivery>,
        claim: ClaimNow,
        now: Timestamp,
    ) -> Result<Vec<Claim>> {
        let payload = payload.clone();
        let size = fan_out::size(&deliveries);
        let work = move |group: &mut writer::Group<'_>| fan_out::fan_out(group, &payload, deliveries, &claim, now);
        self.writer.submit("queueing deliveries", size, work).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let rows = self.writer.submit("claiming", 0, move |group| claim::claim(group, &request)).await?;
        if rows.is_empty() { Ok(Vec::new()) } else { self.with_bodies(rows).await }
    }

    async fn complete(&self, claim: &Claim, attempt: Attempt, next: Next) -> Result<bool> {
        let (delivery, fence) = (claim.delivery, claim.fence);
        let work = move |group: &mut writer::Group<'_>| complete::complete(group, delivery, fence, &attempt, next);
        self.writer.submit("recording an outcome", 0, work).await
    }

    async fn end_leases(&self) -> Result<u64> {
        self.writer.submit("ending leases", 0, |group| claim::end_leases(group, Timestamp::MAX)).await
    }

    async fn clock_was_set_back(&self, now: Timestamp, lease_until: Timestamp) -> Result<u64> {
        let work = move |group: &mut writer::Group<'_>| claim::clock_was_set_back(group, now, lease_until);
        self.writer.submit("following the clock", 0, work).await
    }

    async fn waiting(&self, now: Timestamp) -> Result<Waiting> {
        self.read("looking for the next attempt", move |_, connection| claim::waiting(connection, now)).await
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>> {
        self.read("listing deliveries", move |_, connection| read::deliveries(connection, &query)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        self.read("reading a delivery", move |_, connection| read::delivery_record(connection, id)).await
    }

    async fn replay_source(&self, id: DeliveryId) -> Result<Option<ReplaySource>> {
        self.read("reading a delivery", move |readers, connection| read::replay_source(readers, connection, id)).await
    }

    async fn ledger(&self) -> Result<Vec<(EndpointId, State, u64)>> {
        self.read("adding up deliveries", |_, connection| read::ledger(connection)).await
    }
}

/// What can go wrong inside the store.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Secrets(#[from] crate::secrets::SecretsError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Layer(#[from] crate::layers::LayerError),
    #[error("{0}")]
    Missing(String),
}

fn failed<E: std::fmt::Display>(context: &'static str) -> impl FnOnce(E) -> StoreError {
    move |cause| StoreError::Failed { context, cause: cause.to_string() }
}

/// Makes the folder and takes its lock, which the system gives back when the process ends, however it ends.
fn prepare_folder(folder: &Path) -> io::Result<File> {
    if !folder.try_exists()? {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    let mut lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder)?;
            let holder = holder.trim();
            return Err(io::Error::other(format!(
                "{} is in use by another runhook (process {holder}); stop it, or give this one another --data",
                folder.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", limits::WAL_KEPT_BYTES)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Only checkpoints and readers share the file with the writer, never for long.
    connection.busy_timeout(limits::LEASE)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<()> {
    let context = "bringing the database up to date";
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed(context))?;
    let known = MIGRATIONS.len() as u32;
    if version > known {
        let cause = format!("it was written by a newer runhook (schema {version}; this one knows {known})");
        return Err(StoreError::Failed { context: "opening the database", cause });
    }
    for (number, migration) in (1..).zip(MIGRATIONS).skip(version as usize) {
        apply(connection, migration, number).map_err(failed(context))?;
    }
    Ok(())
}

fn apply(connection: &mut Connection, migration: &str, number: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}

/// The body's columns beside its place.
fn header_text(body: &Body) -> std::result::Result<String, Failure> {
    Ok(serde_json::to_string(&body.headers)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Arc<dyn Store> {
        let keyring = Arc::new(Keyring::load(folder, None).unwrap());
        Arc::new(SqliteStore::open(folder, keyring).unwrap())
    }

    crate::store::conformance::conformance!(open);

    #[tokio::test]
    async fn a_claim_that_is_given_back_is_as_if_it_had_never_been() {
        let folder = tempfile::tempdir().unwrap();
        let log = body_log::tests::plain_log(&folder.path().join("bodies"));
        let mut connection = connect(&folder.path().join("runhook.db")).unwrap();
        migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO endpoints (number, rule, webhook, bucket, is_removed) VALUES (1, zeroblob(16), 'w', 0, 0);
                 INSERT INTO deliveries (id, payload, endpoint, state, created_at, next_attempt_at,
                     segment, offset, length, checksum, content_type)
                 VALUES (zeroblob(16), 1, 1, 'pending', 0, 0, 1, 0, 0, 0, 'a/b')",
            )
            .unwrap();
        let writer = Writer::start(connection, log).unwrap();
        let request = ClaimRequest {
            owner: crate::model::ids::HostId::generate(),
            now: Timestamp::UNIX_EPOCH,
            lease_until: Timestamp::MAX,
            room: crate::store::Room::everywhere(1),
            limit: 1,
            bytes_max: 1,
        };
        for _ in 0..2 {
            let request = request.clone();
            let rows = writer.submit("claiming", 0, move |group| claim::claim(group, &request)).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.attempt).collect::<Vec<_>>(), [1]);
            writer.submit("giving back", 0, move |group| claim::give_back(group, &rows[0])).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_second_host_on_the_same_data_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(folder.path());
        let keyring = Arc::new(Keyring::load(folder.path(), None).unwrap());
        let error = SqliteStore::open(folder.path(), keyring).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }
}
