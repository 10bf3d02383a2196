//! What the `Store` means, as one suite that every backend runs: `conformance!(factory)` makes a test of each function.
//!
//! A factory is an async function that opens a backend on a folder; opening the folder again is a crash and a restart.

mod api_keys;
mod datasets;
mod endpoints;
mod offload;
mod release;
mod retention;
mod runs;
mod seals;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::after;
use crate::model::Timestamp;
use crate::model::access::{Access, ClientAuth, ClientCertificate, OAuth2};
use crate::model::attempt::{Attempt, Outcome};
use crate::model::delivery::{Claim, Fate, NewDelivery, Next, State};
use crate::model::endpoint::{Endpoint, EndpointUrl};
use crate::model::ids::{DeliveryId, EndpointId, HostId, PayloadId, RuleId, WebhookId};
use crate::model::pace::Pace;
use crate::model::payload::{Body, PendingPayload};
use crate::model::plugin::{OnError, PluginUse};
use crate::model::retry::Retry;
use crate::model::rule::{Rule, Webhook};
use crate::model::secret::Secret;
use crate::store::{Accepted, ClaimNow, ClaimRequest, DeliveryQuery, NewPayload, Room, RuleChanges, Store};

/// Opens a backend on a folder.
pub(crate) type Open = fn(&Path) -> Arc<dyn Store>;

macro_rules! conformance {
    ($open:expr; $($test:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $crate::store::conformance::$test($crate::store::conformance::Scene::new($open).await).await;
        }
    )*};
    ($open:expr) => {
        $crate::store::conformance::conformance!($open;
            rules_come_back_as_they_were_put,
            rules_may_swap_their_names,
            an_accepted_payload_waits_for_fan_out_also_after_a_restart,
            a_repeated_key_gets_the_first_answer_and_another_body_a_conflict,
            a_key_is_forgotten_after_its_window,
            a_repeated_fan_out_changes_nothing,
            equal_bodies_come_back_whole,
            fan_out_claims_what_it_is_asked_to,
            a_claim_is_exclusive,
            no_endpoint_gets_more_than_its_share,
            nothing_is_claimed_before_it_is_due,
            an_outcome_advances_the_delivery,
            a_stale_claim_changes_nothing,
            the_first_interrupted_attempt_is_uncounted,
            a_restart_ends_all_leases,
            a_removed_webhook_cancels_what_waits_for_it,
            a_delivery_to_a_removed_webhook_is_cancelled_at_once,
            a_payload_that_waits_when_its_rule_goes_is_cancelled_visibly,
            a_replay_makes_a_new_delivery_and_closes_the_held_one,
            a_held_delivery_is_replayed_once_however_many_replay_it,
            a_delivery_knows_which_plugin_failed_on_it_and_how,
            deliveries_are_listed_by_the_plugin_that_failed,
            what_a_quarantine_holds_is_found_by_webhook_and_plugin_the_oldest_first,
            an_endpoint_that_is_disabled_keeps_what_arrives_and_gets_no_claim,
            an_endpoint_that_is_gone_is_disabled_with_its_cause,
            an_ordered_endpoint_gets_one_claim_at_a_time_in_the_order_of_payloads,
            a_retry_at_an_ordered_endpoint_holds_up_what_follows,
            an_endpoint_that_becomes_ordered_has_what_waits_in_order,
            the_last_attempts_of_an_endpoint_come_newest_first,
            deliveries_are_listed_by_webhook_time_cause_and_whether_they_were_replayed,
            the_ledger_adds_up,
            pages_list_every_delivery_once,
            a_large_payload_comes_back_whole,
            many_writers_lose_nothing,
            the_layers_of_a_run_meet_in_any_order,
            a_later_write_adds_to_its_layer,
            a_project_is_made_once_and_outlives_the_host,
            what_changes_moves_to_the_end_of_the_order,
            the_generation_of_a_project_grows_with_its_runs,
            feedback_is_replaced_by_its_id_and_can_be_taken_back,
            a_file_is_kept_with_its_run_and_replaced_by_its_name,
            runs_come_in_pages_by_their_start,
            a_new_rule_begins_where_the_order_stands,
            a_backfill_acts_on_the_project_that_the_rule_was_made_with,
            a_step_marks_its_runs_and_waits_for_fan_out,
            matches_of_a_deleted_rule_are_no_other_rules,
            a_rule_that_looks_again_knows_what_it_has_sent,
            feedback_that_moves_changes_both_runs,
            a_layer_that_would_grow_beyond_all_bounds_is_left_as_it_is,
            a_trace_is_looked_at_as_a_whole,
            a_dataset_comes_back_as_it_was_made,
            a_dataset_is_found_by_what_it_is,
            a_taken_name_or_id_changes_nothing,
            examples_come_back_as_they_were_made,
            examples_come_in_pages_newest_first,
            examples_are_found_by_split_and_metadata,
            a_page_of_examples_says_where_it_is_cut,
            of_a_batch_with_a_taken_id_nothing_is_written,
            a_change_of_an_example_leaves_what_it_does_not_name,
            of_changes_with_an_unknown_example_none_is_made,
            a_deleted_dataset_takes_its_examples_along,
            only_what_was_modified_before_is_to_be_offloaded,
            runs_to_offload_come_in_bounded_batches_by_their_age,
            offloading_swaps_layers_and_nothing_else,
            a_run_that_changed_since_it_was_read_is_not_swapped,
            small_runs_do_not_hold_up_offloading,
            old_runs_go_with_all_that_is_about_them,
            a_batch_of_runs_is_bounded_in_rows_and_in_bytes,
            what_is_about_a_run_that_never_came_goes_by_its_age,
            no_place_in_the_order_is_given_twice,
            history_goes_but_for_what_is_still_to_be_done,
            what_happened_since_keeps_its_payload,
            a_run_is_not_matched_again_when_its_payload_goes,
            a_run_that_goes_while_a_rule_looks_is_no_other_run,
            leftovers_go_and_what_is_in_use_stays,
            bodies_stay_while_something_names_them,
            api_keys_come_back_as_they_were_made,
            a_key_that_is_gone_stays_gone,
            the_use_of_a_key_is_noted_and_brings_none_back,
            secrets_come_under_the_current_key_batch_by_batch,
            what_is_sealed_anew_is_otherwise_as_it_was,
            rules_that_change_meanwhile_are_under_the_current_key,
        );
    };
}
pub(crate) use api_keys::*;
pub(crate) use conformance;
pub(crate) use datasets::*;
pub(crate) use endpoints::*;
pub(crate) use offload::*;
pub(crate) use release::*;
pub(crate) use retention::*;
pub(crate) use runs::*;
pub(crate) use seals::*;

/// A store with one rule of two webhooks.
pub(crate) struct Scene {
    open: Open,
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    rule: Rule,
    host: HostId,
    now: Timestamp,
    /// Of the rule, where it looks for runs.
    backfill_from: Option<Timestamp>,
}

/// Every secret that a webhook can have has to come back.
fn access() -> Access {
    Access {
        authority: Some("an authority".to_owned()),
        client_certificate: Some(ClientCertificate { certificate: "ours".to_owned(), key: Secret::new("a key") }),
        oauth2: Some(OAuth2 {
            token_url: EndpointUrl::parse("https://auth.example.com/token?tenant=s3cret").unwrap(),
            client_id: "runhook".to_owned(),
            client_secret: Secret::new("an OAuth2 secret"),
            scope: Some("hooks".to_owned()),
            audience: None,
            client_auth: ClientAuth::Body,
        }),
    }
}

fn webhook(id: &str) -> Webhook {
    let endpoint = Endpoint {
        url: EndpointUrl::parse("https://example.com/hook?secret=s3cret").unwrap(),
        headers: [("authorization".to_owned(), Secret::new("Bearer t0ken"))].into(),
        retry: Retry::default(),
        pace: Pace::default(),
        signing_secrets: Vec::new(),
        access: Arc::new(access()),
    };
    let plugin = PluginUse {
        name: "redact".parse().unwrap(),
        config: serde_json::json!({"pointers": ["/inputs"]}),
        on_error: OnError::Drop,
    };
    Webhook { id: WebhookId(id.to_owned()), endpoint, plugins: vec![plugin] }
}

/// With a relay secret and two webhooks.
pub(crate) fn rule(name: &str, now: Timestamp) -> Rule {
    Rule {
        id: RuleId::generate(),
        display_name: name.to_owned(),
        is_enabled: true,
        sampling_rate: 0.25,
        source: None,
        relay_secret: Some(Secret::new("relay")),
        webhooks: vec![webhook("a"), webhook("b")],
        created_at: now,
        updated_at: now,
    }
}

fn attempt(number: u32, outcome: Outcome, now: Timestamp) -> Attempt {
    Attempt {
        number,
        started_at: now,
        duration_ms: Some(12),
        outcome,
        status: Some(503),
        error: Some("in words".to_owned()),
        address: Some("127.0.0.1:80".parse().unwrap()),
    }
}

impl Scene {
    pub(crate) async fn new(open: Open) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (rule, host) = (rule("first", now), HostId::generate());
        let scene = Self { open, folder, store, rule, host, now, backfill_from: None };
        scene.put(vec![scene.rule.clone()]).await;
        scene
    }

    async fn put(&self, rules: Vec<Rule>) {
        let changes = RuleChanges { put: rules, delete: Vec::new() };
        self.store.change_rules(changes, self.now).await.unwrap();
    }

    fn endpoint(&self, webhook: &str) -> EndpointId {
        EndpointId { rule: self.rule.id, webhook: WebhookId(webhook.to_owned()) }
    }

    /// What a crash and a restart leave.
    async fn reopen(self) -> Self {
        let Self { open, folder, store, rule, now, backfill_from, .. } = self;
        let weak = Arc::downgrade(&store);
        drop(store);
        assert!(weak.upgrade().is_none());
        let store = open(folder.path());
        Self { open, folder, store, rule, host: HostId::generate(), now, backfill_from }
    }

    async fn accept(&self, document: &str) -> PendingPayload {
        let id = PayloadId::generate();
        let document = Bytes::copy_from_slice(document.as_bytes());
        let payload = NewPayload {
            id,
            rule: self.rule.id,
            accepted_at: self.now,
            document: document.clone(),
            idempotency_key: None,
        };
        assert_eq!(self.store.accept(payload).await.unwrap(), Accepted::New);
        PendingPayload { id, rule: self.rule.id, accepted_at: self.now, document, is_built: false }
    }

    async fn accept_with_key(&self, document: &'static str, key: &str, at: Timestamp) -> (PayloadId, Accepted) {
        let id = PayloadId::generate();
        let payload = NewPayload {
            id,
            rule: self.rule.id,
            accepted_at: at,
            document: Bytes::from_static(document.as_bytes()),
            idempotency_key: Some(key.to_owned()),
        };
        (id, self.store.accept(payload).await.unwrap())
    }

    fn to_send(&self, webhook: &str, body: &Bytes) -> NewDelivery {
        let fate = Fate::Send(Body::json(body.clone()));
        NewDelivery {
            id: DeliveryId::generate(),
            endpoint: self.endpoint(webhook),
            fate,
            replay_of: None,
            only_if_held: false,
        }
    }

    async fn fan_out(
        &self,
        payload: &PendingPayload,
        deliveries: Vec<NewDelivery>,
        claim: &[DeliveryId],
    ) -> Vec<Claim> {
        let claim = ClaimNow { owner: self.host, lease_until: self.in_seconds(30), deliveries: claim.to_vec() };
        self.store.fan_out(payload, deliveries, claim, self.now).await.unwrap()
    }

    /// A pending delivery per webhook named, none claimed.
    async fn queue(&self, webhooks: &[&str]) -> Vec<DeliveryId> {
        let payload = self.accept("{}").await;
        let deliveries: Vec<_> = webhooks.iter().map(|webhook| self.to_send(webhook, &payload.document)).collect();
        let ids = deliveries.iter().map(|delivery| delivery.id).collect();
        self.fan_out(&payload, deliveries, &[]).await;
        ids
    }

    fn in_seconds(&self, seconds: u64) -> Timestamp {
        after(self.now, Duration::from_secs(seconds))
    }

    /// Whether something is overdue then, and what comes next.
    async fn waiting_at(&self, now: Timestamp) -> (bool, Option<Timestamp>) {
        let waiting = self.store.waiting(now).await.unwrap();
        (waiting.is_overdue, waiting.next)
    }

    async fn claim_at(&self, now: Timestamp) -> Vec<Claim> {
        let request = ClaimRequest {
            owner: self.host,
            now,
            lease_until: after(now, Duration::from_secs(30)),
            room: Room::everywhere(10),
            limit: 100,
            bytes_max: usize::MAX,
        };
        self.store.claim(request).await.unwrap()
    }

    async fn state(&self, id: DeliveryId) -> State {
        self.store.delivery(id).await.unwrap().unwrap().delivery.state
    }
}

pub(crate) async fn rules_come_back_as_they_were_put(scene: Scene) {
    let scene = scene.reopen().await;
    assert_eq!(scene.store.rules().await.unwrap(), std::slice::from_ref(&scene.rule));
}

pub(crate) async fn rules_may_swap_their_names(scene: Scene) {
    let mut other = rule("second", scene.now);
    scene.put(vec![other.clone()]).await;
    let mut first = scene.rule.clone();
    std::mem::swap(&mut first.display_name, &mut other.display_name);
    scene.put(vec![first, other.clone()]).await;
    let names: Vec<_> =
        scene.store.rules().await.unwrap().into_iter().map(|rule| (rule.display_name, rule.id)).collect();
    assert_eq!(names, [("first".to_owned(), other.id), ("second".to_owned(), scene.rule.id)]);
}

pub(crate) async fn an_accepted_payload_waits_for_fan_out_also_after_a_restart(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let scene = scene.reopen().await;
    assert_eq!(scene.store.pending_payloads(10).await.unwrap(), [payload.id]);
    let found = scene.store.payload(payload.id).await.unwrap().unwrap();
    assert_eq!(
        (found.document.clone(), found.rule, found.accepted_at),
        (payload.document, payload.rule, payload.accepted_at)
    );
    scene.fan_out(&found, Vec::new(), &[]).await;
    assert!(scene.store.pending_payloads(10).await.unwrap().is_empty());
}

pub(crate) async fn a_repeated_key_gets_the_first_answer_and_another_body_a_conflict(scene: Scene) {
    let (first, accepted) = scene.accept_with_key("{}", "k", scene.now).await;
    assert_eq!(accepted, Accepted::New);
    assert_eq!(scene.accept_with_key("{}", "k", scene.in_seconds(60)).await.1, Accepted::Repeat(first));
    assert_eq!(scene.accept_with_key("{ }", "k", scene.in_seconds(60)).await.1, Accepted::Conflict);
    assert_eq!(scene.accept_with_key("{ }", "other", scene.now).await.1, Accepted::New);
    assert_eq!(scene.store.pending_payloads(10).await.unwrap().len(), 2);
}

pub(crate) async fn a_key_is_forgotten_after_its_window(scene: Scene) {
    scene.accept_with_key("{}", "k", scene.now).await;
    let day = 24 * 3600;
    assert!(matches!(scene.accept_with_key("{}", "k", scene.in_seconds(day - 1)).await.1, Accepted::Repeat(_)));
    assert_eq!(scene.accept_with_key("{}", "k", scene.in_seconds(day)).await.1, Accepted::New);
}

pub(crate) async fn a_repeated_fan_out_changes_nothing(scene: Scene) {
    let payload = scene.accept("{}").await;
    let first = scene.to_send("a", &payload.document);
    let again = scene.to_send("a", &payload.document);
    scene.fan_out(&payload, vec![first.clone()], &[]).await;
    assert!(scene.fan_out(&payload, vec![again.clone()], &[again.id]).await.is_empty());
    assert_eq!(scene.claim_at(scene.now).await.len(), 1);
    assert!(scene.store.delivery(again.id).await.unwrap().is_none());
}

pub(crate) async fn equal_bodies_come_back_whole(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[1]}"#).await;
    let other = Bytes::from_static(b"text");
    let mut rendered = scene.to_send("b", &other);
    let body = Body { content_type: "text/plain".into(), headers: vec![("x-a".into(), "1".into())], bytes: other };
    rendered.fate = Fate::Send(body.clone());
    scene.fan_out(&payload, vec![scene.to_send("a", &payload.document), rendered], &[]).await;
    let scene = scene.reopen().await;
    let mut claims = scene.claim_at(scene.now).await;
    claims.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
    let bodies: Vec<_> = claims.into_iter().map(|claim| claim.body).collect();
    assert_eq!(bodies, [Body::json(payload.document), body]);
}

pub(crate) async fn fan_out_claims_what_it_is_asked_to(scene: Scene) {
    let payload = scene.accept("{}").await;
    let (one, other) = (scene.to_send("a", &payload.document), scene.to_send("b", &payload.document));
    let claims = scene.fan_out(&payload, vec![one.clone(), other.clone()], &[one.id]).await;
    let claimed: Vec<_> = claims.iter().map(|claim| (claim.delivery, claim.attempt)).collect();
    assert_eq!(claimed, [(one.id, 1)]);
    let due: Vec<_> = scene.claim_at(scene.now).await.into_iter().map(|claim| claim.delivery).collect();
    assert_eq!(due, [other.id]);
}

pub(crate) async fn a_claim_is_exclusive(scene: Scene) {
    for _ in 0..5 {
        scene.queue(&["a", "b"]).await;
    }
    let claims = futures::future::join_all((0..8).map(|_| scene.claim_at(scene.now))).await;
    let mut ids: Vec<_> = claims.into_iter().flatten().map(|claim| claim.delivery).collect();
    assert_eq!(ids.len(), 10);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "a delivery was claimed twice");
}

pub(crate) async fn no_endpoint_gets_more_than_its_share(scene: Scene) {
    for _ in 0..6 {
        scene.queue(&["a"]).await;
    }
    scene.queue(&["b"]).await;
    let request = ClaimRequest {
        owner: scene.host,
        now: scene.now,
        lease_until: scene.in_seconds(30),
        room: Room::by({
            let crowded = scene.endpoint("a");
            move |endpoint| if *endpoint == crowded { 2 } else { 3 }
        }),
        limit: 100,
        bytes_max: usize::MAX,
    };
    let claims = scene.store.claim(request.clone()).await.unwrap();
    let count = |name: &str| claims.iter().filter(|claim| claim.endpoint == scene.endpoint(name)).count();
    assert_eq!((count("a"), count("b")), (2, 1));
    let limited = scene.store.claim(ClaimRequest { limit: 1, ..request.clone() }).await.unwrap();
    assert_eq!(limited.len(), 1);
    let large = scene.store.claim(ClaimRequest { bytes_max: 1, ..request }).await.unwrap();
    assert_eq!(large.len(), 1, "one body may be larger than the bound, and comes alone");
}

pub(crate) async fn nothing_is_claimed_before_it_is_due(scene: Scene) {
    scene.queue(&["a"]).await;
    let claim = scene.claim_at(scene.now).await.remove(0);
    let due = scene.in_seconds(5);
    assert!(
        scene.store.complete(&claim, attempt(1, Outcome::ServerError, scene.now), Next::RetryAt(due)).await.unwrap()
    );
    assert_eq!(scene.waiting_at(scene.now).await, (false, Some(due)));
    assert!(scene.claim_at(scene.in_seconds(4)).await.is_empty());
    assert_eq!(scene.waiting_at(due).await, (true, None));
    let again = scene.claim_at(due).await.remove(0);
    assert_eq!((again.delivery, again.attempt, again.uncounted), (claim.delivery, 2, 0));
    assert_eq!(again.body, claim.body);
    assert_eq!(scene.waiting_at(due).await, (false, Some(again.lease_until)));
}

pub(crate) async fn an_outcome_advances_the_delivery(scene: Scene) {
    let ids = scene.queue(&["a", "b"]).await;
    let mut claims = scene.claim_at(scene.now).await;
    claims.sort_by_key(|claim| ids.iter().position(|id| *id == claim.delivery));
    let (good, bad) = (attempt(1, Outcome::Delivered, scene.now), attempt(1, Outcome::ClientError, scene.now));
    scene.store.complete(&claims[0], good.clone(), Next::Delivered).await.unwrap();
    scene.store.complete(&claims[1], bad.clone(), Next::Failed).await.unwrap();
    let scene = scene.reopen().await;
    let delivered = scene.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((delivered.delivery.state, delivered.attempts), (State::Delivered, vec![good]));
    let failed = scene.store.delivery(ids[1]).await.unwrap().unwrap();
    assert_eq!((failed.delivery.state, failed.attempts), (State::Failed, vec![bad]));
    assert_eq!(failed.delivery.cause.as_deref(), Some("client_error: in words"));
    assert_eq!(scene.waiting_at(scene.now).await, (false, None));
}

pub(crate) async fn a_stale_claim_changes_nothing(scene: Scene) {
    let id = scene.queue(&["a"]).await[0];
    let stale = scene.claim_at(scene.now).await.remove(0);
    let fresh = scene.claim_at(scene.in_seconds(31)).await.remove(0);
    assert!(fresh.fence > stale.fence);
    let late = attempt(1, Outcome::Delivered, scene.now);
    assert!(!scene.store.complete(&stale, late, Next::Delivered).await.unwrap());
    assert_eq!(scene.state(id).await, State::Pending);
    let second = attempt(2, Outcome::Delivered, scene.now);
    assert!(scene.store.complete(&fresh, second.clone(), Next::Delivered).await.unwrap());
    assert!(!scene.store.complete(&fresh, second, Next::Failed).await.unwrap());
    let record = scene.store.delivery(id).await.unwrap().unwrap();
    let outcomes: Vec<_> = record.attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
    assert_eq!(outcomes, [(1, Outcome::Interrupted), (2, Outcome::Delivered)]);
    assert_eq!(record.delivery.state, State::Delivered);
}

pub(crate) async fn the_first_interrupted_attempt_is_uncounted(scene: Scene) {
    scene.queue(&["a"]).await;
    let uncounted =
        |claims: Vec<Claim>| claims.iter().map(|claim| (claim.attempt, claim.uncounted)).collect::<Vec<_>>();
    assert_eq!(uncounted(scene.claim_at(scene.now).await), [(1, 0)]);
    assert_eq!(uncounted(scene.claim_at(scene.in_seconds(100)).await), [(2, 1)]);
    assert_eq!(uncounted(scene.claim_at(scene.in_seconds(200)).await), [(3, 1)]);
}

pub(crate) async fn a_restart_ends_all_leases(scene: Scene) {
    let id = scene.queue(&["a"]).await[0];
    scene.claim_at(scene.now).await;
    let scene = scene.reopen().await;
    assert!(scene.claim_at(scene.now).await.is_empty(), "the lease is still alive");
    assert_eq!(scene.store.end_leases().await.unwrap(), 1);
    assert_eq!(scene.store.end_leases().await.unwrap(), 0);
    assert_eq!(scene.claim_at(scene.now).await[0].attempt, 2);
    let record = scene.store.delivery(id).await.unwrap().unwrap();
    assert_eq!(record.attempts[0].outcome, Outcome::Interrupted);
    assert_eq!(record.attempts[0].started_at, scene.now);
}

pub(crate) async fn a_removed_webhook_cancels_what_waits_for_it(scene: Scene) {
    let ids = scene.queue(&["a", "b"]).await;
    let in_flight = scene.claim_at(scene.now).await.into_iter().find(|claim| claim.delivery == ids[0]).unwrap();
    let mut smaller = scene.rule.clone();
    smaller.webhooks.remove(0);
    let changes = RuleChanges { put: vec![smaller], delete: Vec::new() };
    assert_eq!(scene.store.change_rules(changes, scene.now).await.unwrap().deliveries, 1);
    assert_eq!((scene.state(ids[0]).await, scene.state(ids[1]).await), (State::Cancelled, State::Pending));
    let late = attempt(1, Outcome::Delivered, scene.now);
    assert!(!scene.store.complete(&in_flight, late, Next::Delivered).await.unwrap());
    let record = scene.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((record.delivery.state, record.attempts.len()), (State::Cancelled, 1));
    let deletion = RuleChanges { put: Vec::new(), delete: vec![scene.rule.id] };
    assert_eq!(scene.store.change_rules(deletion, scene.now).await.unwrap().deliveries, 1);
    assert_eq!(scene.state(ids[1]).await, State::Cancelled);
}

pub(crate) async fn a_delivery_to_a_removed_webhook_is_cancelled_at_once(scene: Scene) {
    let payload = scene.accept("{}").await;
    scene.put(vec![Rule { webhooks: vec![webhook("b")], ..scene.rule.clone() }]).await;
    let delivery = scene.to_send("a", &payload.document);
    assert!(scene.fan_out(&payload, vec![delivery.clone()], &[delivery.id]).await.is_empty());
    assert_eq!(scene.state(delivery.id).await, State::Cancelled);
}

pub(crate) async fn a_payload_that_waits_when_its_rule_goes_is_cancelled_visibly(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let changes = RuleChanges { put: Vec::new(), delete: vec![scene.rule.id] };
    assert_eq!(scene.store.change_rules(changes, scene.now).await.unwrap().deliveries, 2);
    assert!(scene.store.pending_payloads(10).await.unwrap().is_empty());
    let query = DeliveryQuery { payload: Some(payload.id), limit: 10, ..DeliveryQuery::default() };
    let deliveries = scene.store.deliveries(query).await.unwrap();
    assert_eq!(deliveries.len(), 2);
    for delivery in deliveries {
        assert_eq!((delivery.state, delivery.cause.as_deref()), (State::Cancelled, Some("the rule was deleted")));
    }
}

pub(crate) async fn a_replay_makes_a_new_delivery_and_closes_the_held_one(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let held =
        NewDelivery { fate: Fate::Held("a plugin failed".to_owned().into()), ..scene.to_send("a", &payload.document) };
    scene.fan_out(&payload, vec![held.clone()], &[]).await;
    let source = scene.store.replay_source(held.id).await.unwrap().unwrap();
    assert_eq!(source.delivery.cause.as_deref(), Some("a plugin failed"));
    assert_eq!(source.payload.document, payload.document);
    for _ in 0..2 {
        let replay = NewDelivery { replay_of: Some(held.id), ..scene.to_send("a", &payload.document) };
        scene.fan_out(&source.payload, vec![replay.clone()], &[]).await;
        assert_eq!(scene.state(replay.id).await, State::Pending);
    }
    assert_eq!(scene.state(held.id).await, State::Cancelled);
}

pub(crate) async fn a_held_delivery_is_replayed_once_however_many_replay_it(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let held = NewDelivery { fate: Fate::Held("words".to_owned().into()), ..scene.to_send("a", &payload.document) };
    scene.fan_out(&payload, vec![held.clone()], &[]).await;
    let replay =
        || NewDelivery { replay_of: Some(held.id), only_if_held: true, ..scene.to_send("a", &payload.document) };
    let (first, second) = (replay(), replay());
    scene.fan_out(&payload, vec![first.clone()], &[]).await;
    assert!(scene.fan_out(&payload, vec![second.clone()], &[second.id]).await.is_empty());
    assert_eq!(scene.state(first.id).await, State::Pending);
    assert_eq!(scene.store.delivery(second.id).await.unwrap(), None);
}

pub(crate) async fn the_ledger_adds_up(scene: Scene) {
    let payload = scene.accept("{}").await;
    let filtered = NewDelivery { fate: Fate::Filtered, ..scene.to_send("a", &payload.document) };
    let dropped =
        NewDelivery { fate: Fate::Dropped("cause".to_owned().into()), ..scene.to_send("b", &payload.document) };
    scene.fan_out(&payload, vec![filtered, dropped], &[]).await;
    scene.queue(&["a", "b"]).await;
    let expected = [
        (scene.endpoint("a"), State::Filtered, 1),
        (scene.endpoint("a"), State::Pending, 1),
        (scene.endpoint("b"), State::Dropped, 1),
        (scene.endpoint("b"), State::Pending, 1),
    ];
    assert_eq!(scene.store.ledger().await.unwrap(), expected);
}

pub(crate) async fn pages_list_every_delivery_once(scene: Scene) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(scene.queue(&["a", "b"]).await);
    }
    let mut listed = Vec::new();
    loop {
        let query = DeliveryQuery { before: listed.last().copied(), limit: 3, ..DeliveryQuery::default() };
        let page = scene.store.deliveries(query).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|delivery| delivery.id));
    }
    ids.reverse();
    assert_eq!(listed, ids);
    let held = DeliveryQuery { state: Some(State::Held), limit: 10, ..DeliveryQuery::default() };
    assert!(scene.store.deliveries(held).await.unwrap().is_empty());
    let of_rule = DeliveryQuery {
        state: Some(State::Pending),
        rule: Some(scene.rule.id),
        payload: Some(scene.store.delivery(ids[0]).await.unwrap().unwrap().delivery.payload),
        limit: 10,
        ..DeliveryQuery::default()
    };
    assert_eq!(scene.store.deliveries(of_rule).await.unwrap().len(), 2);
}

pub(crate) async fn a_large_payload_comes_back_whole(scene: Scene) {
    let payload = scene.accept(&"x".repeat(20 * 1024 * 1024)).await;
    scene.fan_out(&payload, vec![scene.to_send("a", &payload.document)], &[]).await;
    assert_eq!(scene.claim_at(scene.now).await[0].body.bytes, payload.document);
}

pub(crate) async fn many_writers_lose_nothing(scene: Scene) {
    let payloads = futures::future::join_all((0..500).map(|number| {
        let scene = &scene;
        async move { scene.accept(&format!(r#"{{"n":{number}}}"#)).await }
    }))
    .await;
    let scene = scene.reopen().await;
    assert_eq!(scene.store.pending_payloads(1000).await.unwrap().len(), 500);
    for payload in payloads.iter().step_by(50) {
        assert_eq!(scene.store.payload(payload.id).await.unwrap().unwrap().document, payload.document);
    }
}
