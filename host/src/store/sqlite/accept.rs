//! ACCEPT: one row, one body in the log, one idempotency key.

use rusqlite::{OptionalExtension, params};

use crate::limits;
use crate::model::ids::PayloadId;
use crate::store::sqlite::Failure;
use crate::store::sqlite::columns::micros;
use crate::store::sqlite::writer::Group;
use crate::store::{Accepted, NewPayload};

/// Expired keys that one accept removes: more than it adds, so that they never pile up.
const EXPIRED_PER_ACCEPT: i64 = 4;

pub(super) fn accept(group: &mut Group<'_>, payload: &NewPayload) -> Result<Accepted, Failure> {
    if let Some(key) = &payload.idempotency_key
        && let Some(earlier) = remember(group, payload, key)?
    {
        return Ok(earlier);
    }
    let body = group.log.append(&payload.document)?;
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO payloads (id, rule, accepted_at, is_pending, segment, offset, length, checksum)
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        payload.id,
        payload.rule,
        micros(payload.accepted_at),
        body.segment,
        body.offset.cast_signed(),
        body.length.cast_signed(),
        body.checksum,
    ])?;
    Ok(Accepted::New)
}

/// Writes the key down; where it is known, says how the payload was taken then.
fn remember(group: &Group<'_>, payload: &NewPayload, key: &str) -> Result<Option<Accepted>, Failure> {
    let hash = blake3::hash(&payload.document);
    let window = limits::IDEMPOTENCY_WINDOW.as_micros() as i64;
    let oldest = micros(payload.accepted_at) - window;
    let mut find = group.connection.prepare_cached(
        "SELECT payload, document_hash FROM idempotency_keys WHERE rule = ?1 AND key = ?2 AND accepted_at > ?3",
    )?;
    let earlier: Option<(PayloadId, [u8; 32])> =
        find.query_row(params![payload.rule, key, oldest], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some((id, earlier_hash)) = earlier {
        let is_same = hash == earlier_hash;
        return Ok(Some(if is_same { Accepted::Repeat(id) } else { Accepted::Conflict }));
    }
    let mut forget = group.connection.prepare_cached(
        "DELETE FROM idempotency_keys WHERE (rule, key) IN
         (SELECT rule, key FROM idempotency_keys WHERE accepted_at <= ?1 ORDER BY accepted_at LIMIT ?2)",
    )?;
    forget.execute(params![oldest, EXPIRED_PER_ACCEPT])?;
    let mut insert = group.connection.prepare_cached(
        "INSERT OR REPLACE INTO idempotency_keys (rule, key, payload, document_hash, accepted_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![payload.rule, key, payload.id, hash.as_bytes(), micros(payload.accepted_at)])?;
    Ok(None)
}
