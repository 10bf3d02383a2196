//! DELIVER: the outcome of an attempt, as a compare-and-set on the claim's fence.

use rusqlite::{OptionalExtension, params};

use crate::model::attempt::Attempt;
use crate::model::delivery::{Next, State};
use crate::model::ids::DeliveryId;
use crate::store::endpoints::Disabled;
use crate::store::sqlite::columns::{insert_attempt, micros};
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{Failure, endpoints};

pub(super) fn complete(
    group: &mut Group<'_>,
    delivery: DeliveryId,
    fence: i64,
    attempt: &Attempt,
    next: Next,
) -> Result<bool, Failure> {
    let (state, retry_at) = match next {
        Next::Delivered => (State::Delivered, None),
        Next::Failed | Next::Gone => (State::Failed, None),
        Next::RetryAt(at) => (State::Pending, Some(micros(at))),
    };
    let cause = (state == State::Failed).then(|| cause(attempt));
    let Some((number, endpoint)) = found(group, delivery)? else { return Ok(false) };
    // Without RETURNING, which has a table of its own made and thrown away each time.
    let mut update = group.connection.prepare_cached(
        "UPDATE deliveries SET state = ?3, next_attempt_at = ?4, cause = ?5,
             owner = NULL, claimed_at = NULL, lease_until = NULL
         WHERE number = ?1 AND fence = ?2 AND owner IS NOT NULL",
    )?;
    let is_advanced = update.execute(params![number, fence, state.as_str(), retry_at, cause])? == 1;
    if is_advanced && next == Next::Gone {
        let cause = format!("the receiver answered {} to {delivery}: it is gone", attempt.status.unwrap_or_default());
        endpoints::disable(group, endpoint, &Disabled { at: attempt.started_at, cause })?;
    }
    insert_attempt(group.connection, number, attempt)?;
    Ok(is_advanced)
}

/// Its number, and that of its endpoint.
fn found(group: &Group<'_>, delivery: DeliveryId) -> Result<Option<(i64, i64)>, Failure> {
    let mut find = group.connection.prepare_cached("SELECT number, endpoint FROM deliveries WHERE id = ?1")?;
    Ok(find.query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Why a delivery failed: its last outcome, in words where there are any.
fn cause(attempt: &Attempt) -> String {
    match (&attempt.error, attempt.status) {
        (Some(error), _) => format!("{}: {error}", attempt.outcome),
        (None, Some(status)) => format!("{}: the receiver answered {status}", attempt.outcome),
        (None, None) => attempt.outcome.to_string(),
    }
}
