//! The real store behind a fault: for a while it takes no outcomes, it never comes back from taking a payload, the host
//! crashes at a certain call about runs, or such calls fail now and then. It counts them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runhook::model::Timestamp;
use runhook::model::api_key::{ApiKey, ApiKeyId};
use runhook::model::attempt::Attempt;
use runhook::model::dataset::{Dataset, Example};
use runhook::model::delivery::{Claim, Delivery, DeliveryRecord, NewDelivery, Next, State};
use runhook::model::ids::{
    DatasetId, DeliveryId, EndpointId, ExampleId, FeedbackId, PayloadId, ProjectId, RuleId, RunId, WorkspaceId,
};
use runhook::model::payload::PendingPayload;
use runhook::model::plugin::PluginName;
use runhook::model::project::Project;
use runhook::model::rule::Rule;
use runhook::store::api_keys::ApiKeyStore;
use runhook::store::datasets::{
    DatasetMade, DatasetQuery, DatasetStore, ExampleChange, ExamplePage, ExampleQuery, ExamplesWritten, StoredDataset,
};
use runhook::store::endpoints::{Disabled, EndpointRecord, EndpointStore};
use runhook::store::offload::{OffloadQuery, OffloadStore, OffloadedRun, OldRun};
use runhook::store::release::ReleaseStore;
use runhook::store::retention::{Pruned, RetentionStore};
use runhook::store::runs::{
    Cursor, FeedbackQuery, Look, NewAttachment, NewRuns, Progress, RuleLogEntry, RuleLogQuery, RunQuery, RunStore,
    Seen, StoredFeedback, StoredRun, Tree,
};
use runhook::store::seals::{Resealed, SealStore};
use runhook::store::{
    Accepted, Cancelled, ClaimNow, ClaimRequest, DeliveryQuery, NewPayload, ReplaySource, Result, RuleChanges, Store,
    StoreError, Waiting,
};
use tokio::sync::watch;

pub(crate) struct FaultyStore {
    store: Arc<dyn Store>,
    /// How many outcomes are refused yet, and how many were.
    faults: watch::Sender<(usize, usize)>,
    is_stuck: bool,
    /// Calls about runs until the crash, before and after each one counted apart.
    steps_left: AtomicUsize,
    has_crashed: watch::Sender<bool>,
    /// How often it was asked for runs to offload.
    looks: watch::Sender<usize>,
    /// Whether calls about runs fail, and by which chance.
    failing: Option<Mutex<StdRng>>,
    calls: AtomicUsize,
}

/// How often a call about runs fails, before its effect or behind it.
const FAILING_SHARE: f64 = 0.02;

impl FaultyStore {
    /// Refuses so many outcomes, then works.
    pub(crate) fn refusing(store: Arc<dyn Store>, outcomes: usize) -> Self {
        Self {
            store,
            faults: watch::Sender::new((outcomes, 0)),
            is_stuck: false,
            steps_left: AtomicUsize::new(usize::MAX),
            has_crashed: watch::Sender::new(false),
            looks: watch::Sender::new(0),
            failing: None,
            calls: AtomicUsize::new(0),
        }
    }

    /// Crashes at that step of the calls about runs, 0 before the first one, 1 behind it: who called hears no more.
    pub(crate) fn crashing_at(store: Arc<dyn Store>, step: usize) -> Self {
        Self { steps_left: AtomicUsize::new(step), ..Self::refusing(store, 0) }
    }

    /// Also has calls about runs fail until then, some behind their effect: what is stored is answered with an error.
    pub(crate) fn failing(self, seed: u64) -> Self {
        Self { failing: Some(Mutex::new(StdRng::seed_from_u64(seed))), ..self }
    }

    /// Has no fault of its own.
    pub(crate) fn counting(store: Arc<dyn Store>) -> Self {
        Self::refusing(store, 0)
    }

    /// Calls of matching so far, but for those that cost nothing.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The store without the fault.
    pub(crate) fn beneath(&self) -> &dyn Store {
        &*self.store
    }

    /// How often it was asked for runs to offload so far.
    pub(crate) fn looks(&self) -> usize {
        *self.looks.borrow()
    }

    /// Waits for the crash.
    pub(crate) async fn crashed(&self) {
        self.has_crashed.subscribe().wait_for(|has_crashed| *has_crashed).await.unwrap();
    }

    /// A call of matching, with a step before and a step behind it.
    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.step().await?;
        let answer = call.await?;
        self.step().await?;
        Ok(answer)
    }

    /// One step: goes on, fails, or never comes back.
    async fn step(&self) -> Result<()> {
        let left = self.steps_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.has_crashed.send_replace(true);
            std::future::pending::<()>().await;
        }
        let fails = |random: &Mutex<StdRng>| random.lock().unwrap().random_bool(FAILING_SHARE);
        if self.failing.as_ref().is_some_and(fails) { Err(StoreError::Busy) } else { Ok(()) }
    }

    /// Takes payloads and never says that they are durable.
    pub(crate) fn stuck(store: Arc<dyn Store>) -> Self {
        Self { is_stuck: true, ..Self::refusing(store, 0) }
    }

    /// Waits until so many outcomes were refused.
    pub(crate) async fn refused(&self, count: usize) {
        self.faults.subscribe().wait_for(|(_, refused)| *refused >= count).await.unwrap();
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn complete(&self, claim: &Claim, attempt: Attempt, next: Next) -> Result<bool> {
        let is_refused = self.faults.send_if_modified(|(left, refused)| {
            let is_refused = *left > 0;
            *left -= usize::from(is_refused);
            *refused += usize::from(is_refused);
            is_refused
        });
        if is_refused { Err(StoreError::Busy) } else { self.store.complete(claim, attempt, next).await }
    }

    async fn change_rules(&self, changes: RuleChanges, now: Timestamp) -> Result<Cancelled> {
        self.store.change_rules(changes, now).await
    }
    async fn rules(&self) -> Result<Vec<Rule>> {
        self.store.rules().await
    }
    async fn accept(&self, payload: NewPayload) -> Result<Accepted> {
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        self.store.accept(payload).await
    }
    async fn pending_payloads(&self, behind: Option<PayloadId>, limit: usize) -> Result<Vec<(PayloadId, RuleId)>> {
        self.store.pending_payloads(behind, limit).await
    }
    async fn payload(&self, id: PayloadId) -> Result<Option<PendingPayload>> {
        self.store.payload(id).await
    }
    async fn fan_out(
        &self,
        payload: &PendingPayload,
        deliveries: Vec<NewDelivery>,
        claim: ClaimNow,
        now: Timestamp,
    ) -> Result<Vec<Claim>> {
        self.store.fan_out(payload, deliveries, claim, now).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        self.store.claim(request).await
    }
    async fn end_leases(&self) -> Result<u64> {
        self.store.end_leases().await
    }
    async fn clock_was_set_back(&self, now: Timestamp, lease_until: Timestamp) -> Result<u64> {
        self.store.clock_was_set_back(now, lease_until).await
    }
    async fn waiting(&self, now: Timestamp) -> Result<Waiting> {
        self.store.waiting(now).await
    }
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>> {
        self.store.deliveries(query).await
    }
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        self.store.delivery(id).await
    }
    async fn replay_source(&self, id: DeliveryId) -> Result<Option<ReplaySource>> {
        self.store.replay_source(id).await
    }
    async fn ledger(&self) -> Result<Vec<(EndpointId, State, u64)>> {
        self.store.ledger().await
    }
}

#[async_trait]
impl RunStore for FaultyStore {
    async fn workspace(&self) -> Result<WorkspaceId> {
        self.store.workspace().await
    }
    async fn ingest(&self, runs: NewRuns, now: Timestamp) -> Result<Vec<RunId>> {
        self.store.ingest(runs, now).await
    }
    async fn project_named(&self, name: &str, now: Timestamp) -> Result<Project> {
        self.store.project_named(name, now).await
    }
    async fn add_project(&self, project: Project) -> Result<Project> {
        self.store.add_project(project).await
    }
    async fn projects(&self) -> Result<Vec<Project>> {
        self.store.projects().await
    }
    async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>> {
        self.call(self.store.runs(query)).await
    }
    async fn feedback(&self, runs: Vec<RunId>) -> Result<Vec<StoredFeedback>> {
        self.call(self.store.feedback(runs)).await
    }
    async fn attachments(&self, runs: Vec<RunId>) -> Result<Vec<NewAttachment>> {
        self.call(self.store.attachments(runs)).await
    }
    async fn feedback_page(&self, query: FeedbackQuery) -> Result<Vec<StoredFeedback>> {
        self.store.feedback_page(query).await
    }
    async fn one_feedback(&self, id: FeedbackId) -> Result<Option<StoredFeedback>> {
        self.store.one_feedback(id).await
    }
    async fn change_feedback(&self, id: FeedbackId, fields: Bytes, now: Timestamp) -> Result<bool> {
        self.store.change_feedback(id, fields, now).await
    }
    async fn delete_feedback(&self, id: FeedbackId) -> Result<bool> {
        self.store.delete_feedback(id).await
    }
    async fn cursor(&self, rule: RuleId) -> Result<Option<Cursor>> {
        self.call(self.store.cursor(rule)).await
    }
    async fn head(&self, project: ProjectId) -> Result<i64> {
        self.call(self.store.head(project)).await
    }
    fn generation(&self, project: ProjectId) -> Option<u64> {
        self.store.generation(project)
    }
    async fn look(&self, look: Look) -> Result<Vec<Seen>> {
        self.call(self.store.look(look)).await
    }
    async fn roots(&self, trees: Vec<Tree>) -> Result<Vec<StoredRun>> {
        self.call(self.store.roots(trees)).await
    }
    async fn tree(&self, tree: Tree, after: i64) -> Result<Vec<StoredRun>> {
        self.call(self.store.tree(tree, after)).await
    }
    async fn rule_log(&self, query: RuleLogQuery) -> Result<Vec<RuleLogEntry>> {
        self.store.rule_log(query).await
    }
    async fn advance(&self, progress: Progress) -> Result<bool> {
        self.call(self.store.advance(progress)).await
    }
}

#[async_trait]
impl DatasetStore for FaultyStore {
    async fn make_dataset(&self, dataset: Dataset) -> Result<DatasetMade> {
        self.store.make_dataset(dataset).await
    }
    async fn datasets(&self, query: DatasetQuery) -> Result<Vec<StoredDataset>> {
        self.store.datasets(query).await
    }
    async fn delete_dataset(&self, id: DatasetId) -> Result<bool> {
        self.store.delete_dataset(id).await
    }
    async fn make_examples(&self, examples: Vec<Example>) -> Result<ExamplesWritten> {
        self.store.make_examples(examples).await
    }
    async fn examples(&self, query: ExampleQuery) -> Result<ExamplePage> {
        self.store.examples(query).await
    }
    async fn change_examples(&self, changes: Vec<ExampleChange>, now: Timestamp) -> Result<ExamplesWritten> {
        self.store.change_examples(changes, now).await
    }
    async fn delete_example(&self, id: ExampleId, now: Timestamp) -> Result<bool> {
        self.store.delete_example(id, now).await
    }
}

#[async_trait]
impl OffloadStore for FaultyStore {
    async fn runs_to_offload(&self, query: OffloadQuery) -> Result<Vec<OldRun>> {
        self.looks.send_modify(|looks| *looks += 1);
        self.call(self.store.runs_to_offload(query)).await
    }
    async fn offload(&self, runs: Vec<OffloadedRun>) -> Result<Vec<bool>> {
        self.call(self.store.offload(runs)).await
    }
}

#[async_trait]
impl RetentionStore for FaultyStore {
    async fn prune_runs(&self, before: Timestamp, limit: usize) -> Result<Pruned> {
        self.store.prune_runs(before, limit).await
    }
    async fn prune_history(&self, before: Timestamp, limit: usize) -> Result<Pruned> {
        self.store.prune_history(before, limit).await
    }
    async fn prune_leftovers(&self, now: Timestamp, limit: usize) -> Result<Pruned> {
        self.store.prune_leftovers(now, limit).await
    }
    async fn prune_bodies(&self, now: Timestamp, limit: usize) -> Result<Pruned> {
        self.store.prune_bodies(now, limit).await
    }
}

#[async_trait]
impl ReleaseStore for FaultyStore {
    async fn quarantined(&self) -> Result<Vec<(EndpointId, PluginName)>> {
        self.store.quarantined().await
    }
    async fn held_by_quarantine(
        &self,
        endpoint: &EndpointId,
        plugin: &PluginName,
        behind: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeliveryId>> {
        self.store.held_by_quarantine(endpoint, plugin, behind, limit).await
    }
}

#[async_trait]
impl EndpointStore for FaultyStore {
    async fn endpoints(&self) -> Result<Vec<EndpointRecord>> {
        self.store.endpoints().await
    }
    async fn last_attempts(&self, endpoint: &EndpointId, limit: usize) -> Result<Vec<Attempt>> {
        self.store.last_attempts(endpoint, limit).await
    }
    async fn set_disabled(&self, endpoint: &EndpointId, disabled: Option<Disabled>) -> Result<bool> {
        self.store.set_disabled(endpoint, disabled).await
    }
}

#[async_trait]
impl ApiKeyStore for FaultyStore {
    async fn add_api_key(&self, key: ApiKey) -> Result<()> {
        self.store.add_api_key(key).await
    }
    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.store.api_keys().await
    }
    async fn delete_api_key(&self, id: &ApiKeyId) -> Result<bool> {
        self.store.delete_api_key(id).await
    }
    async fn note_api_key_use(&self, id: &ApiKeyId, day: Timestamp) -> Result<()> {
        self.store.note_api_key_use(id, day).await
    }
}

#[async_trait]
impl SealStore for FaultyStore {
    async fn reseal(&self, behind: Option<RuleId>, limit: usize) -> Result<Resealed> {
        self.store.reseal(behind, limit).await
    }

    async fn reseal_body_keys(&self) -> Result<u64> {
        self.store.reseal_body_keys().await
    }
}
