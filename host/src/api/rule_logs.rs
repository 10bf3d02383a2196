//! What became of the runs that a rule matched: one entry for each, as LangSmith's rule logs have it.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::query::Parameters;
use crate::api::{Doors, rules};
use crate::layers;
use crate::model::delivery::State as DeliveryState;
use crate::store::runs::{RuleLogEntry, RuleLogQuery};

type Answer = Result<Json<Value>, ApiError>;

/// `GET /api/v1/runs/rules/{id}/logs?limit=…&offset=…&start_time=…&end_time=…`, newest first.
pub(super) async fn list(State(api): Doors, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let rule = rules::find(&api, &id)?.id;
    let parameters = Parameters::parse(query.as_deref());
    let (limit, offset) = parameters.page()?;
    let since = parameters.time("start_time")?;
    let until = parameters.time("end_time")?;
    let entries = api.store.rule_log(RuleLogQuery { rule, since, until, limit, offset }).await?;
    Ok(Json(entries.iter().map(show).collect()))
}

/// `GET /api/v1/runs/rules/{id}/last_applied`: the end of the newest window that brought something.
pub(super) async fn last_applied(State(api): Doors, Path(id): Path<String>) -> Answer {
    let rule = rules::find(&api, &id)?.id;
    let query = RuleLogQuery { rule, since: None, until: None, limit: 1, offset: 0 };
    let newest = api.store.rule_log(query).await?.pop();
    Ok(Json(json!({"last_applied_at": newest.map(|entry| entry.window.1)})))
}

fn show(entry: &RuleLogEntry) -> Value {
    let run = entry.run.to_run().ok();
    json!({
        "rule_id": entry.rule,
        "run_id": entry.run.id,
        "run_name": run.as_ref().map(|run| &run.name),
        "run_type": run.as_ref().map(|run| &run.run_type),
        "run_session_id": entry.run.project,
        "thread_id": run.as_ref().and_then(layers::thread_id),
        "start_time": entry.window.0,
        "end_time": entry.window.1,
        "application_time": entry.applied_at,
        "webhooks": outcome(&entry.states).map(|outcome| {
            json!({"outcome": outcome, "payload": {"payload_id": entry.payload, "deliveries": entry.states}})
        }),
    })
}

/// Over all webhooks of the rule; none while something is still to be sent.
fn outcome(states: &[DeliveryState]) -> Option<&'static str> {
    use DeliveryState::{Delivered, Failed, Held, Pending};
    let has = |wanted: &[DeliveryState]| states.iter().any(|state| wanted.contains(state));
    if states.is_empty() || has(&[Pending]) {
        None
    } else if has(&[Failed, Held]) {
        Some("error")
    } else if has(&[Delivered]) {
        Some("success")
    } else {
        Some("skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_outcome_counts_once_all_have_ended() {
        use DeliveryState::{Delivered, Failed, Filtered, Held, Pending};
        assert_eq!(outcome(&[]), None);
        assert_eq!(outcome(&[Delivered, Pending, Failed]), None);
        assert_eq!(outcome(&[Delivered, Held]), Some("error"));
        assert_eq!(outcome(&[Filtered, Delivered]), Some("success"));
        assert_eq!(outcome(&[Filtered]), Some("skipped"));
    }
}
