//! One attempt: build the request, send it, name the outcome, record it under the claim's fence.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::{debug, error, warn};

use crate::clock::after;
use crate::dispatch::breaker::Verdict;
use crate::dispatch::classify::classify;
use crate::dispatch::retry::{Ended, Terms};
use crate::dispatch::{Slot, Stage, retry, sign};
use crate::limits;
use crate::model::Timestamp;
use crate::model::attempt::{Attempt, Outcome};
use crate::model::delivery::{Claim, Next};
use crate::model::endpoint::{Endpoint, HOST_HEADERS};
use crate::model::ids::EndpointId;
use crate::outbound::{Exchange, Request};

const USER_AGENT: &str = concat!("runhook/", env!("CARGO_PKG_VERSION"));

/// How long after a refused write the outcome is offered to the store again.
const RECORD_AGAIN: Duration = Duration::from_millis(200);

impl Stage {
    /// Makes the claimed attempt and records it; whether what it says of the endpoint has opened it. A webhook that is gone
    /// means that its delivery was cancelled.
    pub(super) async fn deliver(&self, claim: Claim, slot: &Slot) -> bool {
        let snapshot = self.rulebook.snapshot();
        let Some(webhook) = snapshot.webhook(&claim.endpoint) else { return false };
        let endpoint = &webhook.endpoint;
        let terms = Terms::of(&endpoint.retry);
        let started_at = self.clock.now();
        if after(started_at, terms.attempt_max()) > claim.lease_until {
            warn!(delivery = %claim.delivery, "too little of the lease is left for an attempt; it will be claimed again");
            return false;
        }
        let (attempt, ended) = self.attempt(endpoint, &terms, &claim, started_at).await;
        let counted = claim.attempt.saturating_sub(claim.uncounted);
        let next = match retry::next(&terms, &ended, counted, self.clock.now(), self.clock.random()) {
            // It is not gone from where the rule has it by now: there the delivery goes.
            Next::Gone if self.has_moved(&claim.endpoint, endpoint) => Next::RetryAt(self.clock.now()),
            next => next,
        };
        debug!(delivery = %claim.delivery, attempt = attempt.number, outcome = %attempt.outcome, "attempted");
        let verdict = self.verdict(&claim.endpoint, endpoint, &ended);
        self.record(&claim, attempt, next).await;
        verdict.is_some_and(|verdict| slot.report(verdict, &endpoint.url, self.clock.now()))
    }

    /// Makes an attempt that is nobody's record; and whether what it says of the endpoint has opened it.
    pub(super) async fn probe(&self, claim: &Claim) -> Option<(Attempt, bool)> {
        let snapshot = self.rulebook.snapshot();
        let endpoint = &snapshot.webhook(&claim.endpoint)?.endpoint;
        let era = self.slots.era(&claim.endpoint);
        let (attempt, ended) = self.attempt(endpoint, &Terms::of(&endpoint.retry), claim, self.clock.now()).await;
        let verdict = self.verdict(&claim.endpoint, endpoint, &ended);
        let report = |it| self.slots.report(&claim.endpoint, era, it, &endpoint.url, self.clock.now());
        Some((attempt, verdict.is_some_and(report)))
    }

    /// What an attempt says of its endpoint: nothing where that is elsewhere by now.
    fn verdict(&self, id: &EndpointId, sent_to: &Endpoint, ended: &Ended) -> Option<Verdict> {
        verdict(ended, &Terms::of(&sent_to.retry)).filter(|_| !self.has_moved(id, sent_to))
    }

    /// Whether the rule has another URL by now than the one that was sent to.
    fn has_moved(&self, id: &EndpointId, sent_to: &Endpoint) -> bool {
        let snapshot = self.rulebook.snapshot();
        snapshot.webhook(id).is_some_and(|webhook| webhook.endpoint.url != sent_to.url)
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        terms: &Terms<'_>,
        claim: &Claim,
        started_at: Timestamp,
    ) -> (Attempt, Ended) {
        let exchange = self.sender.send(request(endpoint, terms, claim, started_at)).await;
        let attempt = attempt_of(claim, started_at, &exchange);
        let ended = Ended {
            outcome: attempt.outcome,
            status: exchange.result.as_ref().ok().copied(),
            retry_after: exchange.retry_after.map(|asked| asked.from(self.clock.now())),
        };
        (attempt, ended)
    }

    /// Writes the outcome; a store that is in trouble is asked again until the lease nears its end.
    async fn record(&self, claim: &Claim, attempt: Attempt, next: Next) {
        loop {
            match self.store.complete(claim, attempt.clone(), next).await {
                Ok(true) => break,
                Ok(false) => {
                    warn!(delivery = %claim.delivery, attempt = attempt.number, "the claim was taken over or cancelled");
                    break;
                }
                Err(error) if after(self.clock.now(), RECORD_AGAIN) < claim.lease_until => {
                    warn!(delivery = %claim.delivery, %error, "cannot record an outcome; trying again");
                    self.clock.sleep_until(after(self.clock.now(), RECORD_AGAIN)).await;
                }
                Err(error) => {
                    error!(delivery = %claim.delivery, %error, "cannot record an outcome; it will count as interrupted");
                    break;
                }
            }
        }
        // The loop has to know of an attempt that is due earlier than what it sleeps for.
        if matches!(next, Next::RetryAt(_)) {
            self.nudged.notify_one();
        }
    }
}

/// What an attempt says of its endpoint: nothing where it was not dialled.
fn verdict(ended: &Ended, terms: &Terms<'_>) -> Option<Verdict> {
    if let Some(asked) = ended.throttled(terms) {
        return Some(Verdict::Throttled(asked));
    }
    match ended.outcome {
        Outcome::AddressForbidden | Outcome::Interrupted => None,
        Outcome::ConnectFailed | Outcome::TimedOut | Outcome::ConnectionLost | Outcome::ServerError => {
            Some(Verdict::Ailing)
        }
        // It answers, whatever it says; 429 says that it cannot take more.
        _ if ended.status == Some(http::StatusCode::TOO_MANY_REQUESTS) => Some(Verdict::Ailing),
        _ => Some(Verdict::Healthy),
    }
}

fn request(endpoint: &Endpoint, terms: &Terms<'_>, claim: &Claim, started_at: Timestamp) -> Request {
    Request {
        url: endpoint.url.expose().clone(),
        headers: headers(endpoint, claim, started_at),
        body: claim.body.bytes.clone(),
        access: endpoint.access.clone(),
        connect_timeout: terms.timeout,
        head_timeout: terms.timeout,
    }
}

/// The plugin's headers, over them the webhook's, over them the host's own.
fn headers(endpoint: &Endpoint, claim: &Claim, started_at: Timestamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let plugins = claim.body.headers.iter().map(|(name, value)| (name.as_str(), value.as_str(), false));
    let webhooks = endpoint.headers.iter().map(|(name, value)| (name.as_str(), value.expose(), true));
    for (name, value, is_secret) in plugins.chain(webhooks) {
        let parsed = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(mut value)) = parsed
            && !HOST_HEADERS.contains(&name.as_str())
        {
            value.set_sensitive(is_secret);
            headers.insert(name, value);
        }
    }
    let own = [
        ("content-type", claim.body.content_type.clone()),
        ("user-agent", USER_AGENT.to_owned()),
        ("webhook-id", claim.delivery.to_string()),
        ("webhook-timestamp", started_at.as_second().to_string()),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.extend(sign::signature(&endpoint.signing_secrets, claim.delivery, started_at, &claim.body.bytes));
    headers
}

fn attempt_of(claim: &Claim, started_at: Timestamp, exchange: &Exchange) -> Attempt {
    let error = exchange.result.as_ref().err().map(|failure| {
        let mut text = failure.to_string();
        text.truncate(text.floor_char_boundary(limits::ERROR_TEXT_BYTES_MAX));
        text
    });
    Attempt {
        number: claim.attempt,
        started_at,
        duration_ms: Some(exchange.duration.as_millis() as u64),
        outcome: classify(&exchange.result),
        status: exchange.result.as_ref().ok().map(|status| status.as_u16()),
        error,
        address: exchange.address,
    }
}
