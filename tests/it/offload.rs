//! Offloading over the real store, the real blobs and a clock that is set: what moves, that it reads as before, and
//! that neither a crash nor an object store that refuses loses anything or holds up others. Last, the same through the
//! binary.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::blobs::{BlobField, BlobKey, BlobOrigin, Blobs};
use runhook::clock::{Clock, ManualClock, after};
use runhook::layers;
use runhook::limits::{OFFLOAD_RUNS_MAX, OFFLOAD_TICK, OFFLOADED_BYTES_MIN};
use runhook::model::Timestamp;
use runhook::model::ids::RunId;
use runhook::model::run::{Layer, Run, RunWrite};
use runhook::offload::Offload;
use runhook::reading::{Reading, RunSearch};
use runhook::secrets::Keyring;
use runhook::shutdown;
use runhook::store::Store;
use runhook::store::offload::OffloadQuery;
use runhook::store::runs::{NewRun, NewRuns, RunQuery, StoredRun};
use runhook::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host_process::{HostProcess, HostSettings, client};
use crate::support::engine::{local_blobs, standing_clock};
use crate::support::faulty_store::FaultyStore;
use crate::support::payloads::{Payloads, runs};
use crate::support::waiting::{PATIENCE, a_moment};

const AGE: Duration = Duration::from_hours(24);
struct Scene {
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: ManualClock,
    folder: TempDir,
}

fn open(folder: &Path) -> Arc<dyn Store> {
    let keyring = Arc::new(Keyring::load(folder, None).unwrap());
    Arc::new(SqliteStore::open(folder, keyring).unwrap())
}

/// A value that is offloaded; no two are the same.
fn large(name: &str) -> Value {
    json!({"name": name, "text": "x".repeat(OFFLOADED_BYTES_MIN)})
}

/// A run that has ended.
fn post(inputs: &Value, outputs: &Value) -> Value {
    json!({
        "name": "n", "run_type": "llm", "session_name": "p", "start_time": "2026-07-01T09:00:00",
        "end_time": "2026-07-01T09:00:01", "inputs": inputs, "outputs": outputs,
    })
}

async fn write(store: &dyn Store, run: (RunId, Layer, &Value), now: Timestamp) {
    let (id, layer, document) = run;
    let document = Bytes::from(document.to_string());
    let (post, patch) = match layer {
        Layer::Post => (Some(&document[..]), None),
        Layer::Patch => (None, Some(&document[..])),
    };
    let head = layers::head(post, patch).unwrap();
    let runs = vec![NewRun { write: RunWrite { id, layer, document: document.clone() }, head }];
    store.ingest(NewRuns { runs, ..NewRuns::default() }, now).await.unwrap();
}

async fn stored(store: &dyn Store, id: RunId) -> StoredRun {
    store.runs(RunQuery { ids: vec![id], ..RunQuery::default() }).await.unwrap().remove(0)
}

fn is_moved(run: &StoredRun) -> bool {
    run.bytes() < OFFLOADED_BYTES_MIN
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: open(folder.path()), blobs: local_blobs(folder.path()), clock: standing_clock(), folder }
    }

    /// What a crash and a restart leave.
    fn reopen(self) -> Self {
        let Self { store, blobs, clock, folder } = self;
        let weak = Arc::downgrade(&store);
        drop(store);
        assert!(weak.upgrade().is_none());
        Self { store: open(folder.path()), blobs, clock, folder }
    }

    async fn write(&self, id: RunId, layer: Layer, document: &Value) {
        write(&*self.store, (id, layer, document), self.clock.now()).await;
    }

    /// A run with large inputs.
    async fn one(&self, name: &str) -> RunId {
        let id = RunId::generate();
        self.write(id, Layer::Post, &post(&large(name), &json!({}))).await;
        id
    }

    async fn stored(&self, id: RunId) -> StoredRun {
        stored(&*self.store, id).await
    }

    async fn is_moved(&self, id: RunId) -> bool {
        is_moved(&self.stored(id).await)
    }

    /// The run as the API has it.
    async fn read(&self, id: RunId) -> Run {
        Reading::new(self.store.clone(), self.blobs.clone()).run(id).await.unwrap().unwrap().run
    }

    async fn inputs(&self, id: RunId) -> Value {
        serde_json::from_str(&self.read(id).await.inputs.unwrap()).unwrap()
    }

    fn stage(&self, store: Arc<dyn Store>) -> Offload {
        Offload::new(store, self.blobs.clone(), Arc::new(self.clock.clone()), AGE)
    }

    async fn offload_until<F: Future<Output = bool>>(&self, is_done: impl Fn() -> F) {
        self.run_until(self.store.clone(), is_done).await;
    }

    /// Runs the stage until `is_done`.
    async fn run_until<F: Future<Output = bool>>(&self, store: Arc<dyn Store>, is_done: impl Fn() -> F) {
        let (stage, (trigger, shutdown)) = (self.stage(store), shutdown::channel());
        let running = tokio::spawn(async move { stage.run(shutdown).await });
        let waiting = async {
            while !is_done().await {
                a_moment().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the stage comes to this point in time");
        trigger.request();
        running.await.unwrap();
    }

    /// The object store cannot take the run's inputs, today and tomorrow, until what is returned is removed.
    fn refuse(&self, run: RunId, name: &str) -> Vec<std::path::PathBuf> {
        let inputs = large(name).to_string();
        let days = [self.clock.now(), after(self.clock.now(), AGE)];
        let blocked = days.map(|received_at| {
            let origin = BlobOrigin { run, received_at, field: BlobField::Inputs, media_type: "application/json" };
            let key = BlobKey::of(&origin, inputs.as_bytes());
            self.folder.path().join("blobs").join(key.as_str())
        });
        blocked.iter().for_each(|place| std::fs::create_dir_all(place).unwrap());
        blocked.to_vec()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_moves_and_reads_as_before_and_the_rest_stays() {
    let scene = Scene::new();
    let (old, young, small) = (RunId::generate(), RunId::generate(), RunId::generate());
    let usage = json!({"name": "o", "text": "y".repeat(OFFLOADED_BYTES_MIN), "usage_metadata": {"input_tokens": 41}});
    scene.write(old, Layer::Post, &post(&large("old"), &json!({"early": true}))).await;
    scene.write(old, Layer::Patch, &json!({"outputs": usage, "extra": {"metadata": large("metadata")}})).await;
    scene.write(small, Layer::Post, &post(&json!({"q": 1}), &json!({}))).await;
    let (was, was_small) = (scene.read(old).await, scene.stored(small).await);
    let was_stored = scene.stored(old).await;
    scene.clock.advance(AGE * 2);
    scene.write(young, Layer::Post, &post(&large("young"), &json!({}))).await;
    scene.offload_until(|| async { scene.stored(old).await.bytes() < was_stored.bytes() }).await;

    let row = scene.stored(old).await;
    let text = format!("{}{}", row.post.as_ref().unwrap(), row.patch.as_ref().unwrap());
    assert!(!text.contains("yyyy") && text.matches("xxxx").count() > 0, "the metadata stay, the outputs do not");
    assert!(!row.post.as_ref().unwrap().contains("xxxx"));
    assert_eq!((row.changed, row.modified_at), (was_stored.changed, was_stored.modified_at));
    let is = scene.read(old).await;
    assert_eq!(is.tokens.prompt, 41);
    let keys = [is.blobs.inputs.clone().unwrap(), is.blobs.outputs.clone().unwrap()];
    assert!(keys.iter().all(|key| key.starts_with("ttl_s/20260703/")), "the day of the move: {keys:?}");
    assert_eq!(Run { blobs: was.blobs.clone(), ..is }, was);
    assert_eq!(scene.stored(small).await.post, was_small.post);
    assert!(!scene.is_moved(young).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_patch_takes_the_place_of_what_was_moved_and_moves_in_its_turn() {
    let scene = Scene::new();
    let id = scene.one("first").await;
    scene.write(id, Layer::Patch, &json!({"outputs": large("early")})).await;
    scene.clock.advance(AGE * 2);
    scene.offload_until(|| scene.is_moved(id)).await;
    scene.write(id, Layer::Patch, &json!({"outputs": large("late")})).await;
    assert!(!scene.is_moved(id).await);
    let outputs = async || serde_json::from_str::<Value>(&scene.read(id).await.outputs.unwrap()).unwrap();
    assert_eq!((scene.inputs(id).await, outputs().await), (large("first"), large("late")));
    scene.clock.advance(AGE * 2);
    scene.offload_until(|| scene.is_moved(id)).await;
    assert_eq!((scene.inputs(id).await, outputs().await), (large("first"), large("late")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_each_run_with_its_own_values() {
    let scene = Scene::new();
    let mut ids = Vec::new();
    for number in 0..=2 * OFFLOAD_RUNS_MAX {
        ids.push(scene.one(&number.to_string()).await);
    }
    scene.clock.advance(AGE * 2);
    scene.offload_until(|| scene.is_moved(ids[2 * OFFLOAD_RUNS_MAX])).await;
    let reading = Reading::new(scene.store.clone(), scene.blobs.clone());
    let page = reading.page(&RunSearch { limit: 1000, ..RunSearch::default() }).await.unwrap();
    assert_eq!(page.runs.len(), ids.len());
    for found in page.runs {
        let number = ids.iter().position(|id| *id == found.run.id).unwrap();
        let inputs: Value = serde_json::from_str(&found.run.inputs.unwrap()).unwrap();
        assert_eq!((inputs, found.run.blobs.inputs.is_some()), (large(&number.to_string()), true));
    }
    let brief = reading.page(&RunSearch { limit: 5, is_brief: true, ..RunSearch::default() }).await.unwrap();
    assert!(brief.runs.iter().all(|found| found.run.inputs.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_refuses_loses_nothing_and_what_it_refused_moves_later() {
    let scene = Scene::new();
    let id = scene.one("kept").await;
    scene.clock.advance(AGE * 2);
    let in_the_way = scene.folder.path().join("blobs/ttl_s");
    std::fs::write(&in_the_way, "no folder").unwrap();
    let store = Arc::new(FaultyStore::refusing(scene.store.clone(), 0));
    let has_tried_twice = || async {
        scene.clock.advance(OFFLOAD_TICK);
        // One look ends with the refusal, one finds nothing behind it, the next one begins again.
        store.looks() > 4
    };
    scene.run_until(store.clone(), has_tried_twice).await;
    assert!(!scene.is_moved(id).await);
    assert_eq!(scene.inputs(id).await, large("kept"));
    std::fs::remove_file(&in_the_way).unwrap();
    scene.offload_until(|| scene.is_moved(id)).await;
    assert_eq!(scene.inputs(id).await, large("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_cannot_be_moved_hold_up_no_others() {
    let scene = Scene::new();
    let mut refused = Vec::new();
    for number in 0..=OFFLOAD_RUNS_MAX {
        refused.push(scene.one(&number.to_string()).await);
    }
    scene.clock.advance(Duration::from_hours(1));
    let taken = scene.one("taken").await;
    scene.clock.advance(AGE * 2);
    let blocked = |(number, id): (usize, &RunId)| scene.refuse(*id, &number.to_string());
    let blocked: Vec<_> = refused.iter().enumerate().flat_map(blocked).collect();
    let is_moved = |id: RunId| {
        scene.clock.advance(OFFLOAD_TICK);
        scene.is_moved(id)
    };
    scene.offload_until(|| is_moved(taken)).await;
    for id in [refused[0], refused[OFFLOAD_RUNS_MAX]] {
        assert!(!scene.is_moved(id).await);
    }
    blocked.iter().for_each(|place| std::fs::remove_dir(place).unwrap());
    let is_all_moved = || async {
        scene.clock.advance(OFFLOAD_TICK);
        scene.is_moved(refused[0]).await && scene.is_moved(refused[OFFLOAD_RUNS_MAX]).await
    };
    scene.offload_until(is_all_moved).await;
    assert_eq!(scene.inputs(refused[7]).await, large("7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_looked_at_once_and_holds_up_no_others() {
    let scene = Scene::new();
    for document in [vec![0xff; OFFLOADED_BYTES_MIN], vec![b'x'; OFFLOADED_BYTES_MIN]] {
        let write = RunWrite { id: RunId::generate(), layer: Layer::Post, document: document.into() };
        let runs = vec![NewRun { write, head: layers::Head::default() }];
        scene.store.ingest(NewRuns { runs, ..NewRuns::default() }, scene.clock.now()).await.unwrap();
    }
    let id = scene.one("behind them").await;
    scene.clock.advance(AGE * 2);
    let all = || scene.store.runs_to_offload(OffloadQuery::batch(scene.clock.now(), None));
    assert_eq!(all().await.unwrap().len(), 3);
    scene.offload_until(|| scene.is_moved(id)).await;
    assert!(all().await.unwrap().is_empty());
    assert_eq!(scene.inputs(id).await, large("behind them"));
}

/// Before it looks, behind that, between blob and row, and behind the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_and_a_restart_lose_nothing() {
    for step in 0..4 {
        let scene = Scene::new();
        let id = scene.one("kept").await;
        scene.clock.advance(AGE * 2);
        let faulty = Arc::new(FaultyStore::crashing_at(scene.store.clone(), step));
        let (stage, (_trigger, shutdown)) = (scene.stage(faulty.clone()), shutdown::channel());
        let running = tokio::spawn(async move { stage.run(shutdown).await });
        tokio::time::timeout(PATIENCE, faulty.crashed()).await.expect("the stage comes to this step");
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        drop(faulty);
        let scene = scene.reopen();
        assert_eq!(scene.is_moved(id).await, step == 3);
        assert_eq!(scene.folder.path().join("blobs/ttl_s").exists(), step >= 2, "the blob is there before the row");
        assert_eq!(scene.inputs(id).await, large("kept"));
        // The next day: the same content under another key.
        scene.clock.advance(AGE);
        scene.offload_until(|| scene.is_moved(id)).await;
        assert_eq!(scene.inputs(id).await, large("kept"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_offloads_and_links_filters_and_plugins_meet_what_is_offloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (data, id) = (folder.path().join("data"), RunId::generate());
    let inputs = json!({"secret": "sk-abc", "text": "x".repeat(OFFLOADED_BYTES_MIN)});
    {
        std::fs::create_dir(&data).unwrap();
        let two_hours_ago = Timestamp::now() - Duration::from_hours(2);
        write(&*open(&data), (id, Layer::Post, &post(&inputs, &json!({"answer": 1}))), two_hours_ago).await;
    }
    let mut settings = HostSettings::on(&data);
    settings.arguments = ["--offload-after", "1h"].map(str::to_owned).to_vec();
    let mut host = HostProcess::start(&settings);
    let waiting = async {
        while !host.log().contains("moved old inputs and outputs to the object store") {
            a_moment().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the host moves them");
    host.stop();
    {
        let row = stored(&*open(&data), id).await;
        assert!(is_moved(&row), "{} bytes", row.bytes());
    }
    let host = HostProcess::start(&settings);
    let (plain_url, plain) = Payloads::serve().await;
    let (redacted_url, redacted) = Payloads::serve().await;
    let (filtered_url, filtered) = Payloads::serve().await;
    let rule = |name: &str, filter: &str, webhook: &str| {
        format!(
            r#"
            [[rules]]
            display_name = "{name}"
            sampling_rate = 1.0
            session_name = "p"
            window_seconds = 1
            backfill_from = "2020-01-01T00:00:00Z"
            filter = '{filter}'
            webhooks = [{webhook}]
            "#
        )
    };
    let redact = r#"plugins = [{ name = "redact", config = { pointers = ["/inputs/secret"] } }]"#;
    host.apply(&format!(
        "{}{}{}",
        rule("plain", "eq(is_root, true)", &format!(r#"{{ url = "{plain_url}" }}"#)),
        rule("redacted", "eq(is_root, true)", &format!(r#"{{ url = "{redacted_url}", {redact} }}"#)),
        rule("absent", "not(eq(input_key, \"secret\"))", &format!(r#"{{ url = "{filtered_url}" }}"#)),
    ));
    let payloads = plain.until_runs(1).await;
    let run = runs(&payloads)[0];
    assert_eq!((&run["inputs"], &run["outputs"]), (&Value::Null, &json!({"answer": 1})));
    let url = run["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap();
    assert_eq!(client().get(url).send().await.unwrap().json::<Value>().await.unwrap(), inputs);
    let payloads = redacted.until_runs(1).await;
    assert_eq!(runs(&payloads)[0]["inputs"]["secret"], "[redacted]");
    assert_eq!(runs(&payloads)[0]["inputs"]["text"], inputs["text"]);
    let payloads = filtered.until_runs(1).await;
    assert_eq!(runs(&payloads)[0]["id"], json!(id), "to a filter what is offloaded is absent");
    assert_eq!(host.get(&format!("/runs/{id}")).await["inputs"], inputs);
}

#[test]
fn an_age_that_no_run_reaches_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = HostSettings::on(folder.path());
    settings.arguments = ["--offload-after", "14d"].map(str::to_owned).to_vec();
    let log = HostProcess::try_start(&settings).map(drop).unwrap_err();
    assert!(log.contains("--offload-after 14d has to be shorter than --keep-runs 14d"), "{log}");
}
