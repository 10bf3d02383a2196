//! `runhook deliveries replay --plugin NAME`: once a plugin is mended, what is held because of it goes on.
//!
//! It takes what is held when it begins. What is held again is a new delivery and is left, so that it comes to an end.

use std::fmt;

use anyhow::Context;
use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::limits::DELIVERIES_PER_PAGE_MAX;
use crate::model::delivery::State;
use crate::model::ids::{DeliveryId, RuleId};
use crate::model::plugin::PluginName;

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    sent: usize,
    filtered: usize,
    dropped: usize,
    held_again: usize,
    /// Somebody else replayed or removed them meanwhile.
    gone: usize,
    failed: usize,
}

pub(super) async fn run(
    client: &Client,
    plugin: &PluginName,
    rule: Option<RuleId>,
    is_dry_run: bool,
) -> anyhow::Result<()> {
    let held = held(client, plugin, rule).await?;
    if is_dry_run {
        println!("{} held because of `{plugin}`", counted(held.len()));
        return Ok(());
    }
    let (mut counts, mut last_cause) = (Counts::default(), None);
    for id in &held {
        let replayed = client.post(&format!("api/v1/deliveries/{id}/replay"), &only_held(), &Value::Null).await;
        if let Some(cause) = counts.add(replayed)? {
            last_cause = Some(cause);
        }
    }
    println!("replayed {}: {counts}", counted(held.len()));
    if let Some(cause) = last_cause {
        println!("the last that did not go on: {cause}");
    }
    anyhow::ensure!(counts.failed == 0, "{} could not be replayed; they are held as before", counted(counts.failed));
    Ok(())
}

/// All that are held now, the oldest first.
async fn held(client: &Client, plugin: &PluginName, rule: Option<RuleId>) -> anyhow::Result<Vec<DeliveryId>> {
    let mut held: Vec<DeliveryId> = Vec::new();
    loop {
        let mut query = vec![("state", State::Held.to_string()), ("plugin", plugin.to_string())];
        query.push(("limit", DELIVERIES_PER_PAGE_MAX.to_string()));
        query.extend(rule.map(|id| ("rule_id", id.to_string())));
        query.extend(held.last().map(|id| ("before", id.to_string())));
        let answer = client.get("api/v1/deliveries", &query).await?;
        let page = answer["deliveries"].as_array().context("not a list of deliveries")?;
        if page.is_empty() {
            held.reverse();
            return Ok(held);
        }
        for delivery in page {
            held.push(serde_json::from_value(delivery["id"].clone()).context("not a list of deliveries")?);
        }
    }
}

fn only_held() -> [(&'static str, String); 1] {
    [("only_held", true.to_string())]
}

impl Counts {
    /// Counts one, with the cause where it did not go on. A host that cannot be reached ends it.
    fn add(&mut self, replayed: Result<Value, ClientError>) -> anyhow::Result<Option<String>> {
        let answer = match replayed {
            Ok(answer) => answer,
            Err(ClientError::Refused { status: 404 | 409, detail, .. }) => {
                self.gone += 1;
                return Ok(Some(detail));
            }
            Err(ClientError::Refused { detail, .. }) => {
                self.failed += 1;
                return Ok(Some(detail));
            }
            Err(error) => return Err(error).context(format!("stopped; so far {self}")),
        };
        match answer["state"].as_str().map(str::parse) {
            Some(Ok(State::Filtered)) => self.filtered += 1,
            Some(Ok(State::Dropped)) => self.dropped += 1,
            Some(Ok(State::Held)) => self.held_again += 1,
            _ => self.sent += 1,
        }
        Ok(answer["cause"].as_str().map(str::to_owned))
    }
}

impl fmt::Display for Counts {
    /// What none is in is left out, but for the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent", self.sent)?;
        let others = [
            (self.filtered, "filtered"),
            (self.dropped, "dropped"),
            (self.held_again, "held again"),
            (self.gone, "no longer to be replayed"),
            (self.failed, "failed"),
        ];
        others.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_became_of_each_is_counted_and_told() {
        let mut counts = Counts::default();
        for state in ["pending", "pending", "filtered", "held"] {
            counts.add(Ok(json!({"state": state}))).unwrap();
        }
        let refused = |status| ClientError::Refused { status, detail: "words".to_owned(), problems: Vec::new() };
        assert_eq!(counts.add(Err(refused(409))).unwrap().as_deref(), Some("words"));
        counts.add(Err(refused(503))).unwrap();
        assert_eq!(counts.to_string(), "2 sent, 1 filtered, 1 held again, 1 no longer to be replayed, 1 failed");
        assert_eq!(Counts::default().to_string(), "0 sent");
        let unreachable = ClientError::Setup("no network".to_owned());
        assert!(format!("{:#}", counts.add(Err(unreachable)).unwrap_err()).starts_with("stopped; so far 2 sent, "));
    }
}
