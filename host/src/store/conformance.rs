//! What the `Store` means, as one suite that every backend runs: `conformance!(factory)` makes a test of each function.
//!
//! A factory is an async function that opens a backend on a folder; opening the folder again is a crash and a restart.

mod accept;
mod api_keys;
mod claim;
mod datasets;
mod deliveries;
mod endpoints;
mod fan_out;
mod offload;
mod release;
mod retention;
mod rules;
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
use crate::model::delivery::{Claim, Fate, NewDelivery, ReplayOf, State, Still};
use crate::model::endpoint::{Endpoint, EndpointUrl};
use crate::model::ids::{DeliveryId, EndpointId, HostId, PayloadId, RuleId, WebhookId};
use crate::model::pace::Pace;
use crate::model::payload::{Body, PendingPayload};
use crate::model::plugin::{OnError, PluginUse};
use crate::model::retry::Retry;
use crate::model::rule::{Rule, Webhook};
use crate::model::secret::Secret;
use crate::store::{Accepted, ClaimNow, ClaimRequest, NewPayload, Room, RuleChanges, Store};

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
            what_waits_for_fan_out_is_told_page_by_page,
            a_repeated_key_gets_the_first_answer_and_another_body_a_conflict,
            a_key_is_forgotten_after_its_window,
            a_repeated_fan_out_changes_nothing,
            equal_bodies_come_back_whole,
            fan_out_claims_what_it_is_asked_to,
            a_claim_is_exclusive,
            no_endpoint_gets_more_than_its_share,
            large_bodies_have_room_at_each_endpoint_and_in_all_and_hold_up_no_small_ones,
            nothing_is_claimed_before_it_is_due,
            an_outcome_advances_the_delivery,
            a_stale_claim_changes_nothing,
            the_first_interrupted_attempt_is_uncounted,
            a_restart_ends_all_leases,
            what_a_clock_ahead_has_put_off_is_due_when_it_is_set_back,
            a_clock_that_is_set_back_lengthens_no_lease,
            a_removed_webhook_cancels_what_waits_for_it,
            a_delivery_to_a_removed_webhook_is_cancelled_at_once,
            a_payload_that_waits_when_its_rule_goes_is_cancelled_visibly,
            a_replay_makes_a_new_delivery_and_closes_the_held_one,
            a_held_delivery_is_replayed_once_however_many_replay_it,
            what_is_replayed_because_nobody_has_is_replayed_once,
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
            long_rules_are_sealed_anew_in_smaller_batches,
            what_is_sealed_anew_is_otherwise_as_it_was,
            rules_that_change_meanwhile_are_under_the_current_key,
        );
    };
}
pub(crate) use accept::*;
pub(crate) use api_keys::*;
pub(crate) use claim::*;
pub(crate) use conformance;
pub(crate) use datasets::*;
pub(crate) use deliveries::*;
pub(crate) use endpoints::*;
pub(crate) use fan_out::*;
pub(crate) use offload::*;
pub(crate) use release::*;
pub(crate) use retention::*;
pub(crate) use rules::*;
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

    fn to_send(&self, webhook: &str, body: &Bytes) -> NewDelivery {
        let fate = Fate::Send(Body::json(body.clone()));
        NewDelivery { id: DeliveryId::generate(), endpoint: self.endpoint(webhook), fate, replay_of: None }
    }

    /// The same, made from another delivery where that is still so.
    fn to_replay(&self, id: DeliveryId, still: Still, webhook: &str, body: &Bytes) -> NewDelivery {
        NewDelivery { replay_of: Some(ReplayOf { id, still }), ..self.to_send(webhook, body) }
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

    async fn pending(&self, limit: usize) -> Vec<PayloadId> {
        let pending = self.store.pending_payloads(None, limit).await.unwrap();
        pending.into_iter().map(|(id, _)| id).collect()
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
