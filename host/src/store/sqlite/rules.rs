//! Rules, their endpoints, and what a change of them does to deliveries.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::model::Timestamp;
use crate::model::ids::{DeliveryId, RuleId};
use crate::model::rule::Rule;
use crate::secrets::Keyring;
use crate::store::sqlite::columns::{Micros, micros};
use crate::store::sqlite::stored_rule::Definition;
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{Failure, cursors, projects};
use crate::store::{Cancelled, RuleChanges};

pub(super) fn change(
    group: &mut Group<'_>,
    changes: &RuleChanges,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<Cancelled, Failure> {
    // All go before any comes, so that two rules may swap their names.
    for id in changes.delete.iter().chain(changes.put.iter().map(|rule| &rule.id)) {
        group.connection.prepare_cached("DELETE FROM rules WHERE id = ?1")?.execute([id])?;
    }
    let mut cancelled = Cancelled::default();
    for id in &changes.delete {
        cancelled.deliveries += cancel_waiting(group, *id, now)?;
        cancelled.deliveries += remove_endpoints(group, *id, &HashSet::new(), "the rule was deleted")?;
        cursors::remove(group, *id)?;
    }
    for rule in &changes.put {
        insert(group, rule, keyring, now)?;
        cursors::place(group, rule, now)?;
        let kept: HashSet<&str> = rule.webhooks.iter().map(|webhook| webhook.id.0.as_str()).collect();
        cancelled.deliveries += remove_endpoints(group, rule.id, &kept, "the webhook was removed")?;
    }
    group.endpoints.clear();
    Ok(cancelled)
}

fn insert(group: &Group<'_>, rule: &Rule, keyring: &Keyring, now: Timestamp) -> Result<(), Failure> {
    let definition = serde_json::to_string(&Definition::seal(rule, keyring))?;
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO rules (id, display_name, definition, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![rule.id, rule.display_name, definition, micros(rule.created_at), micros(now)])?;
    let mut endpoint = group.connection.prepare_cached(
        "INSERT INTO endpoints (rule, webhook, bucket, is_removed) VALUES (?1, ?2, ?3, 0)
         ON CONFLICT (rule, webhook) DO UPDATE SET is_removed = 0,
             disabled_at = iif(is_removed, NULL, disabled_at), disabled_cause = iif(is_removed, NULL, disabled_cause)
         RETURNING number, is_ordered",
    )?;
    for webhook in &rule.webhooks {
        let values = params![rule.id, webhook.id.0, rule.endpoint_id(webhook).bucket()];
        let (number, was_ordered): (i64, bool) = endpoint.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let is_ordered = webhook.endpoint.pace.is_ordered;
        if is_ordered != was_ordered {
            set_ordered(group, number, is_ordered)?;
        }
    }
    Ok(())
}

/// What waits gets its turn, or loses it.
fn set_ordered(group: &Group<'_>, endpoint: i64, is_ordered: bool) -> Result<(), Failure> {
    let mut change = group.connection.prepare_cached("UPDATE endpoints SET is_ordered = ?2 WHERE number = ?1")?;
    change.execute(params![endpoint, is_ordered])?;
    for (index, waiting) in WAITING {
        let mut turn = group.connection.prepare_cached(&format!(
            "UPDATE deliveries INDEXED BY {index} SET turn = iif(?2, payload, NULL) WHERE endpoint = ?1 AND {waiting}"
        ))?;
        turn.execute(params![endpoint, is_ordered])?;
    }
    Ok(())
}

/// Marks the rule's endpoints but the kept ones as removed, and cancels what still waits for them.
fn remove_endpoints(group: &Group<'_>, rule: RuleId, kept: &HashSet<&str>, cause: &str) -> Result<u64, Failure> {
    let mut find =
        group.connection.prepare_cached("SELECT number, webhook FROM endpoints WHERE rule = ?1 AND is_removed = 0")?;
    let there =
        find.query_map([rule], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<(i64, String)>, _>>()?;
    let mut cancelled = 0;
    for (number, _) in there.iter().filter(|(_, webhook)| !kept.contains(webhook.as_str())) {
        group.connection.prepare_cached("UPDATE endpoints SET is_removed = 1 WHERE number = ?1")?.execute([number])?;
        for (index, waiting) in WAITING {
            let mut cancel = group.connection.prepare_cached(&format!(
                "UPDATE deliveries INDEXED BY {index} SET state = 'cancelled', cause = ?2, next_attempt_at = NULL,
                     owner = NULL, claimed_at = NULL, lease_until = NULL
                 WHERE endpoint = ?1 AND {waiting}"
            ))?;
            cancelled += cancel.execute(params![number, cause])? as u64;
        }
    }
    Ok(cancelled)
}

/// Deliveries that are still to come to something, a condition for each index: history is long, and the writer must not
/// read it.
const WAITING: [(&str, &str); 3] = [
    ("deliveries_held", "state = 'held'"),
    ("deliveries_due", "state = 'pending' AND lease_until IS NULL"),
    ("deliveries_leased", "state = 'pending' AND lease_until IS NOT NULL"),
];

/// Payloads that were accepted for a rule and not fanned out when it goes: their deliveries are cancelled, visibly.
fn cancel_waiting(group: &Group<'_>, rule: RuleId, now: Timestamp) -> Result<u64, Failure> {
    let numbers = |sql: &str| -> Result<Vec<i64>, Failure> {
        let mut select = group.connection.prepare_cached(sql)?;
        Ok(select.query_map([rule], |row| row.get(0))?.collect::<Result<_, _>>()?)
    };
    let payloads = numbers("SELECT number FROM payloads WHERE is_pending = 1 AND rule = ?1")?;
    let endpoints = numbers("SELECT number FROM endpoints WHERE rule = ?1 AND is_removed = 0")?;
    let mut insert = group.connection.prepare_cached(
        "INSERT INTO deliveries (id, payload, endpoint, state, cause, created_at)
         VALUES (?1, ?2, ?3, 'cancelled', 'the rule was deleted', ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut cancelled = 0;
    for payload in payloads {
        for endpoint in &endpoints {
            cancelled += insert.execute(params![DeliveryId::generate(), payload, endpoint, micros(now)])? as u64;
        }
        group.connection.prepare_cached("UPDATE payloads SET is_pending = 0 WHERE number = ?1")?.execute([payload])?;
    }
    Ok(cancelled)
}

pub(super) fn all(connection: &Connection, keyring: &Keyring) -> Result<Vec<Rule>, Failure> {
    let projects = projects::all(connection)?;
    let mut select = connection.prepare_cached(
        "SELECT id, display_name, created_at, updated_at, definition FROM rules ORDER BY display_name",
    )?;
    let rows = select.query_map([], |row| {
        let rule = Rule {
            id: row.get(0)?,
            display_name: row.get(1)?,
            is_enabled: false,
            sampling_rate: 0.0,
            source: None,
            relay_secret: None,
            webhooks: Vec::new(),
            created_at: row.get::<_, Micros>(2)?.0,
            updated_at: row.get::<_, Micros>(3)?.0,
        };
        Ok((rule, row.get::<_, String>(4)?))
    })?;
    let open = |row: rusqlite::Result<(Rule, String)>| -> Result<Rule, Failure> {
        let (rule, definition) = row?;
        serde_json::from_str::<Definition>(&definition)?.open(rule, &projects, keyring)
    };
    rows.map(open).collect()
}
