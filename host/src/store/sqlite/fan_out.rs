//! FAN OUT: the deliveries of one payload, with claims on those that are sent at once.

use bytes::Bytes;
use rusqlite::{OptionalExtension, params};

use crate::model::Timestamp;
use crate::model::delivery::{Cause, Claim, Fate, NewDelivery, ReplayOf, State, Still};
use crate::model::ids::{DeliveryId, EndpointId};
use crate::model::payload::{Body, PendingPayload};
use crate::store::ClaimNow;
use crate::store::sqlite::body_log::BodyRef;
use crate::store::sqlite::columns::{body_ref, micros};
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{Failure, header_text};

/// Bytes of the bodies, for the queue's bound.
pub(super) fn size(deliveries: &[NewDelivery]) -> usize {
    let size = |delivery: &NewDelivery| if let Fate::Send(body) = &delivery.fate { body.bytes.len() } else { 0 };
    deliveries.iter().map(size).sum()
}

pub(super) fn fan_out(
    group: &mut Group<'_>,
    payload: &PendingPayload,
    deliveries: Vec<NewDelivery>,
    claim: &ClaimNow,
    now: Timestamp,
) -> Result<Vec<Claim>, Failure> {
    let (payload_number, payload_body) = retire(group, payload)?;
    let mut bodies = Bodies { known: vec![(payload.document.clone(), payload_body)] };
    let mut claims: Vec<Claim> = Vec::new();
    for delivery in deliveries {
        if let Some(replayed) = delivery.replay_of
            && !begin_replay(group, replayed, delivery.id)?
        {
            continue;
        }
        let is_claimed = claim.deliveries.contains(&delivery.id);
        let row = row_of(group, &mut bodies, &delivery, payload_number, is_claimed.then_some(claim), now)?;
        let is_inserted = insert(group, &row)?;
        let is_claimed = row.claim.is_some();
        if let (true, true, Fate::Send(body)) = (is_inserted, is_claimed, delivery.fate) {
            claims.push(claim_of(delivery.id, delivery.endpoint, body, claim));
        }
    }
    let place = |claimed: &Claim| claim.deliveries.iter().position(|id| *id == claimed.delivery);
    claims.sort_by_key(place);
    Ok(claims)
}

/// Marks the payload as fanned out; its row's number and where its document is.
fn retire(group: &Group<'_>, payload: &PendingPayload) -> Result<(i64, BodyRef), Failure> {
    let mut find = group
        .connection
        .prepare_cached("SELECT number, segment, offset, length, checksum FROM payloads WHERE id = ?1")?;
    let found = find.query_row([payload.id], |row| Ok((row.get(0)?, body_ref(row, 1)?))).optional()?;
    let found: (i64, BodyRef) = found.ok_or_else(|| Failure::Missing(format!("there is no payload {}", payload.id)))?;
    let mut update = group.connection.prepare_cached("UPDATE payloads SET is_pending = 0 WHERE number = ?1")?;
    update.execute([found.0])?;
    Ok(found)
}

/// Bodies that are in the log already, the payload's own first: what is equal is stored once.
struct Bodies {
    known: Vec<(Bytes, BodyRef)>,
}

impl Bodies {
    fn place(&mut self, group: &mut Group<'_>, bytes: &Bytes) -> Result<BodyRef, Failure> {
        let is_same =
            |known: &Bytes| (known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len()) || known == bytes;
        if let Some((_, place)) = self.known.iter().find(|(known, _)| is_same(known)) {
            return Ok(*place);
        }
        let place = group.log.append(bytes)?;
        self.known.push((bytes.clone(), place));
        Ok(place)
    }
}

struct NewRow<'a> {
    delivery: &'a NewDelivery,
    payload: i64,
    endpoint: EndpointRow,
    state: State,
    cause: Option<Cause>,
    body: Option<(BodyRef, &'a Body)>,
    claim: Option<&'a ClaimNow>,
    now: Timestamp,
}

fn row_of<'a>(
    group: &mut Group<'_>,
    bodies: &mut Bodies,
    delivery: &'a NewDelivery,
    payload: i64,
    claim: Option<&'a ClaimNow>,
    now: Timestamp,
) -> Result<NewRow<'a>, Failure> {
    let endpoint = endpoint_of(group, &delivery.endpoint)?;
    let (mut state, mut cause) = (delivery.fate.state(), delivery.fate.cause().cloned());
    let mut body = match &delivery.fate {
        Fate::Send(body) => Some((bodies.place(group, &body.bytes)?, body)),
        _ => None,
    };
    if endpoint.is_removed && matches!(state, State::Pending | State::Held) {
        (state, cause, body) = (State::Cancelled, Some("the webhook was removed".to_owned().into()), None);
    }
    let claim = claim.filter(|_| state == State::Pending && endpoint.is_open());
    Ok(NewRow { delivery, payload, endpoint, state, cause, body, claim, now })
}

fn insert(group: &Group<'_>, row: &NewRow<'_>) -> Result<bool, Failure> {
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO deliveries (id, payload, endpoint, replay_of, state, cause, created_at, next_attempt_at,
             attempts, fence, owner, claimed_at, lease_until,
             segment, offset, length, checksum, content_type, headers, plugin, failure, turn)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
         ON CONFLICT DO NOTHING",
    )?;
    let now = micros(row.now);
    let place = row.body.map(|(place, _)| place);
    let body = row.body.map(|(_, body)| body);
    let failed = row.cause.as_ref().and_then(|cause| cause.failed.as_ref());
    let inserted = insert.execute(params![
        row.delivery.id,
        row.payload,
        row.endpoint.number,
        row.delivery.replay_of.map(|replayed| replayed.id),
        row.state.as_str(),
        row.cause.as_ref().map(|cause| &cause.words),
        now,
        (row.state == State::Pending).then_some(now),
        i64::from(row.claim.is_some()),
        row.claim.map(|claim| claim.owner),
        row.claim.map(|_| now),
        row.claim.map(|claim| micros(claim.lease_until)),
        place.map(|place| place.segment),
        place.map(|place| place.offset.cast_signed()),
        place.map(|place| place.length.cast_signed()),
        place.map(|place| place.checksum),
        body.map(|body| body.content_type.as_str()),
        body.filter(|body| !body.headers.is_empty()).map(header_text).transpose()?,
        failed.map(|(plugin, _)| plugin.as_str()),
        failed.map(|(_, kind)| kind.as_str()),
        row.endpoint.is_ordered.then_some(row.payload),
    ])?;
    Ok(inserted == 1)
}

fn claim_of(delivery: DeliveryId, endpoint: EndpointId, body: Body, claim: &ClaimNow) -> Claim {
    Claim {
        delivery,
        endpoint,
        attempt: 1,
        uncounted: 0,
        fence: 1,
        owner: claim.owner,
        lease_until: claim.lease_until,
        body,
    }
}

/// What is asked of an endpoint's row.
#[derive(Clone, Copy)]
pub(super) struct EndpointRow {
    number: i64,
    is_removed: bool,
    is_disabled: bool,
    is_ordered: bool,
}

impl EndpointRow {
    /// Whether what is new may be claimed at once.
    fn is_open(self) -> bool {
        !self.is_disabled && !self.is_ordered
    }
}

/// The endpoint's row; one that was never there (its rule was deleted before) counts as removed.
fn endpoint_of(group: &mut Group<'_>, endpoint: &EndpointId) -> Result<EndpointRow, Failure> {
    if let Some(row) = group.endpoints.get(endpoint) {
        return Ok(*row);
    }
    let mut find = group.connection.prepare_cached(
        "SELECT number, is_removed, disabled_at IS NOT NULL, is_ordered FROM endpoints WHERE rule = ?1 AND webhook = ?2",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok(EndpointRow {
            number: row.get(0)?,
            is_removed: row.get(1)?,
            is_disabled: row.get(2)?,
            is_ordered: row.get(3)?,
        })
    };
    let found = find.query_row(params![endpoint.rule, endpoint.webhook.0], row).optional()?;
    let found = found.ok_or_else(|| Failure::Missing(format!("there is no endpoint {endpoint}")))?;
    if !found.is_removed {
        group.endpoints.insert(endpoint.clone(), found);
    }
    Ok(found)
}

/// A replay of a held delivery closes it. Whether the replay is to be made: another one may have come before.
fn begin_replay(group: &Group<'_>, replayed: ReplayOf, by: DeliveryId) -> Result<bool, Failure> {
    let was_held = close_held(group, replayed.id, by)?;
    Ok(match replayed.still {
        Still::Any => true,
        Still::Held => was_held,
        Still::Unreplayed => !is_replayed(group, replayed.id)?,
    })
}

fn is_replayed(group: &Group<'_>, delivery: DeliveryId) -> Result<bool, Failure> {
    let mut find = group.connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM deliveries WHERE replay_of = ?1)")?;
    Ok(find.query_row([delivery], |row| row.get(0))?)
}

/// Whether it was held.
fn close_held(group: &Group<'_>, replayed: DeliveryId, by: DeliveryId) -> Result<bool, Failure> {
    let mut update = group
        .connection
        .prepare_cached("UPDATE deliveries SET state = 'cancelled', cause = ?2 WHERE id = ?1 AND state = 'held'")?;
    Ok(update.execute(params![replayed, format!("replayed as {by}")])? == 1)
}
