//! A probe: one test payload through a webhook's chain and to its receiver, now, and what came of it.
//!
//! It is no delivery: it is not recorded, not retried, and sent whether or not the rule is enabled, the endpoint disabled
//! or its breaker open. An endpoint that answers it is sent to again at once.

use bytes::Bytes;
use serde_json::json;

use crate::fanout::linked::Turn;
use crate::fanout::{Drawn, Fanout};
use crate::model::Timestamp;
use crate::model::attempt::Attempt;
use crate::model::delivery::{Fate, State};
use crate::model::ids::{DeliveryId, EndpointId, PayloadId, RuleId};
use crate::model::payload::PendingPayload;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Probed {
    /// It was sent, and this is how that ended.
    Sent {
        /// `webhook-id` at the receiver.
        id: DeliveryId,
        /// The one attempt.
        attempt: Attempt,
    },
    /// The chain let nothing through.
    NotSent {
        /// What a delivery would be.
        state: State,
        /// Why, where there is a reason.
        cause: Option<String>,
    },
}

impl Fanout {
    /// Probes a webhook; none where there is no such webhook.
    pub async fn probe(&self, endpoint: &EndpointId) -> Option<Probed> {
        let parts = &self.0.parts;
        let snapshot = parts.rulebook.snapshot();
        let webhook = snapshot.webhook(endpoint)?;
        let (id, now) = (PayloadId::generate(), parts.clock.now());
        let document = test_payload(endpoint.rule, now);
        let payload =
            PendingPayload { id, rule: endpoint.rule, accepted_at: now, document: document.clone(), is_built: false };
        let linked = self.0.linked(&payload, Turn::Waits);
        let body = match self.0.fate(&linked, webhook, &Drawn::Runs(document)).await {
            Fate::Send(body) => body,
            other => {
                let cause = other.cause().map(|cause| cause.words.clone());
                return Some(Probed::NotSent { state: other.state(), cause });
            }
        };
        let (id, attempt) = parts.dispatch.probe(endpoint, body).await?;
        Some(Probed::Sent { id, attempt })
    }
}

/// One run that failed, so that filters for failures let it through.
fn test_payload(rule: RuleId, now: Timestamp) -> Bytes {
    let run = json!({
        "id": "00000000-0000-4000-8000-000000000000",
        "trace_id": "00000000-0000-4000-8000-000000000000",
        "name": "runhook probe",
        "run_type": "chain",
        "status": "error",
        "error": "this is a test of the webhook; nothing has failed",
        "start_time": now,
        "end_time": now,
        "inputs": {"question": "Does this webhook work?"},
        "outputs": {"answer": "It does where you can read this."},
        "extra": {"metadata": {"is_test": true}},
        "tags": ["runhook-probe"],
    });
    let payload = json!({
        "rule_id": rule, "start_time": now, "end_time": now, "runs": [run], "feedback_stats": {}, "is_test": true,
    });
    payload.to_string().into()
}
