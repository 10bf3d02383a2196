//! `runhook deliveries replay` with a filter: all that match go on, the oldest first.
//!
//! It takes what matches when it begins, and of that only what nobody has replayed. What fails again is a new delivery
//! and is left, so that it comes to an end.

use std::fmt;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::cli::deliveries::Filter;
use crate::client::{Client, ClientError};
use crate::limits::DELIVERIES_PER_PAGE_MAX;
use crate::model::delivery::State;
use crate::model::ids::DeliveryId;

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// On their way; whether they arrive is seen later.
    pending: usize,
    filtered: usize,
    dropped: usize,
    held_again: usize,
    /// Somebody else replayed or removed them meanwhile.
    gone: usize,
    failed: usize,
}

pub(super) async fn run(client: &Client, filter: &Filter, is_dry_run: bool) -> anyhow::Result<()> {
    let wanted = wanted(client, filter).await?;
    if is_dry_run {
        println!("{} would be replayed", counted(wanted.len()));
        for (id, shown) in wanted.iter().take(SHOWN_MAX) {
            println!("{id}  {shown}");
        }
        if wanted.len() > SHOWN_MAX {
            println!("and {} more", wanted.len() - SHOWN_MAX);
        }
        return Ok(());
    }
    let options = [(guard(filter), true.to_string())];
    let (mut counts, mut last_cause) = (Counts::default(), None);
    let bar = bar(wanted.len());
    for (id, _) in &wanted {
        let replayed = client.post(&format!("api/v1/deliveries/{id}/replay"), &options, &Value::Null).await;
        if let Some(cause) = counts.add(replayed)? {
            last_cause = Some(cause);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("replayed {}: {counts}", counted(wanted.len()));
    if let Some(cause) = last_cause {
        println!("the last that did not go on: {cause}");
    }
    anyhow::ensure!(counts.failed == 0, "{} could not be replayed; they are as before", counted(counts.failed));
    Ok(())
}

/// Deliveries that a dry run lists.
const SHOWN_MAX: usize = 20;

/// Drawn where somebody looks: on a terminal.
fn bar(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// All that match now, the oldest first, with what is said of each.
async fn wanted(client: &Client, filter: &Filter) -> anyhow::Result<Vec<(DeliveryId, String)>> {
    let mut wanted: Vec<(DeliveryId, String)> = Vec::new();
    loop {
        let mut query = filter.query();
        query.extend([("replayed", false.to_string()), ("limit", DELIVERIES_PER_PAGE_MAX.to_string())]);
        query.extend(wanted.last().map(|(id, _)| ("before", id.to_string())));
        let answer = client.get("api/v1/deliveries", &query).await?;
        let page = answer["deliveries"].as_array().context("not a list of deliveries")?;
        if page.is_empty() {
            wanted.reverse();
            return Ok(wanted);
        }
        for delivery in page {
            let id = serde_json::from_value(delivery["id"].clone()).context("not a list of deliveries")?;
            let text = |key: &str| delivery[key].as_str().unwrap_or_default().replace('\n', " ");
            wanted.push((id, format!("{}  {}  {}", text("created_at"), text("state"), text("cause"))));
        }
    }
}

/// What is replayed because it is held, or because nobody has replayed it, must still be so when its turn comes.
fn guard(filter: &Filter) -> &'static str {
    if filter.state() == Some(State::Held) { "only_held" } else { "only_unreplayed" }
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
            _ => self.pending += 1,
        }
        Ok(answer["cause"].as_str().map(str::to_owned))
    }
}

impl fmt::Display for Counts {
    /// What none is in is left out, but for the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pending", self.pending)?;
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
        assert_eq!(counts.to_string(), "2 pending, 1 filtered, 1 held again, 1 no longer to be replayed, 1 failed");
        assert_eq!(Counts::default().to_string(), "0 pending");
        let unreachable = ClientError::Setup("no network".to_owned());
        assert!(format!("{:#}", counts.add(Err(unreachable)).unwrap_err()).starts_with("stopped; so far 2 pending, "));
    }
}
