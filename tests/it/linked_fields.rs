//! Plugins over runs whose inputs and outputs lie elsewhere: in our object store, or where a sender's link leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runhook::blobs::{BlobField, BlobKey, BlobOrigin, Blobs};
use runhook::clock::{Clock, ManualClock};
use runhook::dispatch::Dispatch;
use runhook::document::linked_value;
use runhook::fanout::{self, Fanout, Replay};
use runhook::layers;
use runhook::limits::LINK_LIFETIME;
use runhook::matching::{self, Matching, Pace};
use runhook::model::delivery::{Delivery, State};
use runhook::model::ids::{DeliveryId, HostId, PayloadId, RunId};
use runhook::model::payload::PendingPayload;
use runhook::model::plugin::PluginUse;
use runhook::model::rule::{Rule, RunSource};
use runhook::model::run::{Layer, RunWrite};
use runhook::outbound::{AddressPolicy, HttpSender};
use runhook::plugin::{ChainOutcome, Fetched, PluginRuntime, WasmRuntime};
use runhook::rulebook::RuleBook;
use runhook::shutdown;
use runhook::store::runs::{NewRun, NewRuns};
use runhook::store::{DeliveryQuery, NewPayload, RuleChanges, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::engine::{local_blobs, loopback, open_store, rule, standing_clock};
use crate::support::plugin_cache;
use crate::support::receiver::{Act, Receiver};
use crate::support::waiting::{PATIENCE, a_moment};

const INPUTS: &str = r#"{"secret": "sk-abc", "kept": 1.50}"#;
const OUTPUTS: &str = r#"{"answer": "no sk-xyz here"}"#;

/// A host's fan-out with one rule; each of its webhooks has the same chain and posts to the receiver.
struct Scene {
    store: Arc<dyn Store>,
    rulebook: Arc<RuleBook>,
    fanout: Fanout,
    clock: ManualClock,
    blobs: Blobs,
    rule: Rule,
    receiver: Receiver,
    _running: shutdown::ShutdownTrigger,
    _directory: TempDir,
}

impl Scene {
    async fn set(chain: Value) -> Self {
        Self::with(&chain, 1, loopback()).await
    }

    /// `policy` is of what is fetched; deliveries may go to loopback.
    async fn with(chain: &Value, webhooks: usize, policy: AddressPolicy) -> Self {
        let (directory, store) = open_store();
        let clock = standing_clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let receiver = Receiver::start([Act::Answer(200)]).await;
        let mut rule = rule(&vec![receiver.url().as_str(); webhooks], &BTreeMap::new(), clock.now());
        rule.webhooks.iter_mut().for_each(|webhook| webhook.plugins = plugins(chain));
        let project = store.project_named("p", clock.now()).await.unwrap();
        rule.source = Some(RunSource {
            project,
            filter: None,
            trace_filter: None,
            tree_filter: None,
            window_seconds: 5,
            backfill_from: None,
            include_extended_stats: false,
        });
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let changes = RuleChanges { put: vec![rule.clone()], delete: Vec::new() };
        rulebook.begin_change().await.commit(changes).await.unwrap();
        let owner = HostId::generate();
        let sender = Arc::new(HttpSender::new(loopback()).unwrap());
        let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender, shared.clone(), owner);
        let blobs = local_blobs(directory.path());
        let (fanout, hints) = Fanout::new(fanout::Parts {
            store: store.clone(),
            rulebook: rulebook.clone(),
            plugins: Arc::new(WasmRuntime::start(plugin_cache::settings()).unwrap()),
            dispatch,
            blobs: blobs.clone(),
            fetch: Arc::new(HttpSender::new(policy).unwrap()),
            clock: shared,
            owner,
        });
        let (running, shutdown) = shutdown::channel();
        let working = fanout.clone();
        tokio::spawn(async move { working.run(hints, shutdown).await });
        Self { store, rulebook, fanout, clock, blobs, rule, receiver, _running: running, _directory: directory }
    }

    async fn put(&self, run: RunId, field: BlobField, value: &'static str) -> BlobKey {
        let origin = BlobOrigin { run, received_at: self.clock.now(), field, media_type: "application/json" };
        let key = BlobKey::of(&origin, value.as_bytes());
        self.blobs.put(&key, Bytes::from_static(value.as_bytes())).await.unwrap();
        key
    }

    /// Takes a run in whose inputs and outputs are blobs, and lets the rule make a payload of it.
    async fn build(&self) -> PendingPayload {
        let run = RunId::generate();
        let inputs = layers::reference(self.put(run, BlobField::Inputs, INPUTS).await.as_str(), INPUTS);
        let outputs = layers::reference(self.put(run, BlobField::Outputs, OUTPUTS).await.as_str(), OUTPUTS);
        let document = format!(
            r#"{{"name":"n","run_type":"chain","session_name":"p","trace_id":"{run}","start_time":"2026-07-01T09:00:00",
            "end_time":"2026-07-01T09:00:01","error":"it broke","inputs":{inputs},"outputs":{outputs}}}"#
        );
        let head = layers::head(Some(document.as_bytes()), None).unwrap();
        let write = RunWrite { id: run, layer: Layer::Post, document: document.into() };
        let runs = vec![NewRun { head, write }];
        self.store.ingest(NewRuns { runs, ..NewRuns::default() }, self.clock.now()).await.unwrap();
        self.match_one().await
    }

    async fn match_one(&self) -> PendingPayload {
        let built: Arc<Mutex<Option<PendingPayload>>> = Arc::default();
        let taking = built.clone();
        let matching = Matching::new(matching::Parts {
            workspace: self.store.workspace().await.unwrap(),
            store: self.store.clone(),
            rulebook: self.rulebook.clone(),
            offer: Arc::new(move |payload| *taking.lock().unwrap() = Some(payload)),
            blobs: self.blobs.clone(),
            clock: Arc::new(self.clock.clone()),
            public_url: "http://localhost:8484".parse().unwrap(),
            pace: Pace::default(),
        });
        let (_trigger, shutdown) = shutdown::channel();
        let task = tokio::spawn(async move { matching.run(shutdown).await });
        let found = async {
            loop {
                if let Some(payload) = built.lock().unwrap().take() {
                    return payload;
                }
                self.clock.advance(Duration::from_millis(500));
                a_moment().await;
            }
        };
        let payload = timeout(PATIENCE, found).await.expect("the rule makes a payload");
        task.abort();
        assert!(payload.is_built);
        payload
    }

    /// A durable payload that a sender relayed.
    async fn relay(&self, document: &Value) -> PendingPayload {
        let document = Bytes::from(document.to_string());
        let (id, rule, accepted_at) = (PayloadId::generate(), self.rule.id, self.clock.now());
        let new = NewPayload { id, rule, accepted_at, document: document.clone(), idempotency_key: None };
        self.store.accept(new).await.unwrap();
        PendingPayload { id, rule, accepted_at, document, is_built: false }
    }

    /// The payload's deliveries once nothing more happens to them.
    async fn delivered(&self, payload: PendingPayload) -> Vec<Delivery> {
        let id = payload.id;
        self.fanout.offer(payload);
        self.settled(id, self.rule.webhooks.len()).await
    }

    async fn settled(&self, payload: PayloadId, count: usize) -> Vec<Delivery> {
        let query = DeliveryQuery { payload: Some(payload), limit: 10, ..DeliveryQuery::default() };
        let wait = async {
            loop {
                let deliveries = self.store.deliveries(query.clone()).await.unwrap();
                if deliveries.len() == count && deliveries.iter().all(|delivery| delivery.state != State::Pending) {
                    return deliveries;
                }
                a_moment().await;
            }
        };
        timeout(PATIENCE, wait).await.expect("the payload is fanned out and delivered")
    }

    /// The bodies that were delivered, in order.
    fn bodies(&self) -> Vec<Value> {
        self.receiver.received().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// The run in the one body that was delivered.
    fn run(&self) -> Value {
        let bodies = self.bodies();
        assert_eq!(bodies.len(), 1);
        bodies[0]["runs"][0].clone()
    }

    /// Why the one delivery of a relayed payload with this link is held.
    async fn held(&self, url: &str) -> String {
        let payload = self.relay(&linking(url, "ttl_s/key")).await;
        let delivery = self.delivered(payload).await.remove(0);
        assert_eq!((delivery.state, self.bodies().len()), (State::Held, 0));
        delivery.cause.unwrap()
    }
}

fn plugins(chain: &Value) -> Vec<PluginUse> {
    serde_json::from_value(chain.clone()).unwrap()
}

fn redact(pointer: &str) -> Value {
    json!([{"name": "redact", "config": {"pointers": [pointer]}}])
}

/// A payload as LangSmith sends it, of one run with large inputs.
fn linking(url: &str, key: &str) -> Value {
    let links = json!({"ROOT": {"presigned_url": url, "s3_url": key}});
    json!({"rule_id": "r", "runs": [{"id": "1", "status": "error", "inputs": null, "inputs_s3_urls": links}]})
}

/// Where this content lies, for whoever comes.
async fn elsewhere(content: &str) -> Receiver {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len());
    Receiver::start([Act::WriteThenClose(answer.leak())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_within_a_blob_of_ours_is_inlined_and_its_link_dropped() {
    let scene = Scene::set(redact("/inputs/secret")).await;
    let payload = scene.build().await;
    assert!(payload.document.windows(INPUTS.len()).all(|part| part != INPUTS.as_bytes()), "they lie elsewhere");
    scene.delivered(payload).await;
    let run = scene.run();
    assert_eq!(run["inputs"], json!({"secret": "[redacted]", "kept": 1.50}));
    assert_eq!(run.get("inputs_s3_urls"), None);
    assert_eq!((&run["outputs"], run["outputs_s3_urls"]["ROOT"].is_object()), (&Value::Null, true), "as they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_goes_whole_leaves_no_link_and_is_not_fetched() {
    let there = elsewhere(INPUTS).await;
    let scene = Scene::set(redact("/inputs")).await;
    let payload = scene.relay(&linking(&there.url(), "ttl_s/key")).await;
    scene.delivered(payload).await;
    assert_eq!(scene.run(), json!({"id": "1", "status": "error", "inputs": null}));
    assert_eq!(there.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_see_what_lies_elsewhere() {
    let scene = Scene::set(json!([{"name": "redact", "config": {"patterns": ["sk-[a-z]+"]}}])).await;
    let payload = scene.build().await;
    scene.delivered(payload).await;
    let run = scene.run();
    assert_eq!(run["inputs"], json!({"secret": "[redacted]", "kept": 1.50}));
    assert_eq!(run["outputs"], json!({"answer": "no [redacted] here"}));
    assert_eq!((run.get("inputs_s3_urls"), run.get("outputs_s3_urls")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_ask_fetches_nothing_and_changes_nothing() {
    let there = elsewhere(INPUTS).await;
    let scene = Scene::set(json!([{"name": "errors-only"}])).await;
    let payload = scene.relay(&linking(&there.url(), "ttl_s/key")).await;
    let document = payload.document.clone();
    scene.delivered(payload).await;
    assert_eq!(scene.receiver.received()[0].body, document);
    assert_eq!(there.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_link_is_fetched_once_for_all_webhooks_and_its_key_is_not_believed() {
    let there = elsewhere(r#"{"secret": "theirs"}"#).await;
    let scene = Scene::with(&redact("/inputs/nothing"), 3, loopback()).await;
    let ours = scene.put(RunId::generate(), BlobField::Inputs, INPUTS).await;
    let payload = scene.relay(&linking(&there.url(), ours.as_str())).await;
    scene.delivered(payload).await;
    let bodies = scene.bodies();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| body["runs"][0]["inputs"] == json!({"secret": "theirs"})), "{bodies:?}");
    let received = there.received();
    assert_eq!(received.len(), 1);
    assert!(received[0].head.starts_with("GET /hook?secret=s3cret-in-the-query "), "{}", received[0].head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_private_address_is_refused_and_nothing_dialled() {
    let there = elsewhere(INPUTS).await;
    let scene = Scene::with(&redact("/inputs/secret"), 1, AddressPolicy::default()).await;
    let cause = scene.held(&there.url()).await;
    println!("{cause}");
    assert!(cause.contains("the inputs of the run 1 lie elsewhere and cannot be had"), "{cause}");
    assert!(cause.contains("the address 127.0.0.1 is forbidden (loopback)") && !cause.contains("s3cret"), "{cause}");
    assert_eq!(there.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_the_plugins_failure_and_says_why() {
    let cases = [
        (Act::EndlessBody, "more than 64 MiB"),
        (Act::Answer(403), "the answer was 403"),
        (Act::Redirect(302, "http://127.0.0.1:1/".to_owned()), "the answer was 302"),
        (Act::WriteThenClose("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{\"}"), "what lies there is not JSON"),
        (Act::WriteThenClose("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), "the connection broke"),
        (
            Act::WriteThenClose("HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\n{}"),
            "in the encoding `br`",
        ),
    ];
    for (act, says) in cases {
        let there = Receiver::start([act]).await;
        let scene = Scene::set(redact("/inputs/secret")).await;
        let cause = scene.held(&there.url()).await;
        assert!(cause.contains(says) && !cause.contains("s3cret"), "{cause}");
    }
    let scene = Scene::set(redact("/inputs/secret")).await;
    assert!(scene.held("file:///etc/passwd").await.contains("neither http:// nor https://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_gone_holds_the_delivery() {
    let scene = Scene::set(redact("/inputs/secret")).await;
    let payload = scene.build().await;
    let document: Value = serde_json::from_slice(&payload.document).unwrap();
    let key = document["runs"][0]["inputs_s3_urls"]["ROOT"]["s3_url"].as_str().unwrap();
    scene.blobs.delete(&[key.parse().unwrap()]).await.unwrap();
    let delivery = scene.delivered(payload).await.remove(0);
    assert_eq!(delivery.state, State::Held);
    assert!(delivery.cause.unwrap().contains("there is no blob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_carries_links_that_are_good_from_then_on() {
    let scene = Scene::set(json!([])).await;
    let payload = scene.build().await;
    let id = payload.id;
    let first: DeliveryId = scene.delivered(payload.clone()).await[0].id;
    assert_eq!(scene.receiver.received()[0].body, payload.document, "the first has them as they were built");
    scene.clock.advance(LINK_LIFETIME * 3 / 4);
    scene.fanout.replay(first, Replay::Any).await.unwrap().unwrap();
    scene.settled(id, 2).await;
    scene.clock.advance(LINK_LIFETIME * 3 / 4);
    let bodies = scene.bodies();
    let is_good = |body: &Value, field: &str| {
        let url = body["runs"][0][field]["ROOT"]["presigned_url"].as_str().unwrap().to_owned();
        let (path, query) = url.strip_prefix("http://localhost:8484/blobs/").unwrap().split_once('?').unwrap();
        scene.blobs.verify(path, Some(query), scene.clock.now()).is_ok()
    };
    for field in ["inputs_s3_urls", "outputs_s3_urls"] {
        assert_eq!(bodies.iter().map(|body| is_good(body, field)).collect::<Vec<_>>(), [false, true], "{field}");
    }
    let without_links = |body: &Value| {
        let mut run = body["runs"][0].clone();
        for field in ["inputs_s3_urls", "outputs_s3_urls"] {
            run[field]["ROOT"]["presigned_url"].take();
        }
        run
    };
    assert_eq!(without_links(&bodies[0]), without_links(&bodies[1]), "nothing else differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_leaves_a_relayed_payload_as_it_came() {
    let scene = Scene::set(json!([])).await;
    let ours = scene.put(RunId::generate(), BlobField::Inputs, INPUTS).await;
    let payload = scene.relay(&linking("https://elsewhere.example/x", ours.as_str())).await;
    let (id, document) = (payload.id, payload.document.clone());
    let first = scene.delivered(payload).await[0].id;
    scene.fanout.replay(first, Replay::Any).await.unwrap().unwrap();
    scene.settled(id, 2).await;
    assert!(scene.receiver.received().iter().all(|request| request.body == document));
}

/// What a chain over two runs whose inputs and outputs lie elsewhere makes of what was fetched.
async fn run_with(chain: &Value, fetched: &[(&str, Result<&'static str, &str>)]) -> (Bytes, ChainOutcome) {
    let link = |url: &str| json!({"ROOT": {"presigned_url": url}});
    let run = |id: &str| {
        let [inputs, outputs] = ["i", "o"].map(|field| link(&format!("{field}{id}")));
        json!({"id": id, "inputs": null, "inputs_s3_urls": inputs, "outputs_s3_urls": outputs})
    };
    let document = Bytes::from(json!({"runs": [run("1"), run("2")]}).to_string());
    let mut all = Fetched::default();
    for (url, value) in fetched {
        let value = value.map(|text| linked_value(Bytes::from_static(text.as_bytes())).unwrap());
        all.insert((*url).to_owned(), value.map_err(str::to_owned));
    }
    let runtime = WasmRuntime::start(plugin_cache::settings()).unwrap();
    (document.clone(), runtime.run_with(&plugins(chain), PayloadId::generate(), document, Arc::new(all)).await)
}

fn needed(outcome: ChainOutcome) -> Vec<String> {
    match outcome {
        ChainOutcome::Needs(links) => links.into_iter().map(|link| link.url).collect(),
        other => panic!("{other:?}"),
    }
}

fn truncate(max_chars: usize) -> Value {
    json!([{"name": "truncate", "config": {"max_chars": max_chars, "pointers": ["/inputs", "/outputs"]}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_asks_for_the_field_of_all_runs_at_once() {
    let none = run_with(&truncate(9), &[]).await.1;
    assert_eq!(needed(none), ["i1", "i2"]);
    let inputs = [("i1", Ok("{}")), ("i2", Ok("[]"))];
    assert_eq!(needed(run_with(&truncate(9), &inputs).await.1), ["o1", "o2"]);
    let patterns = json!([{"name": "redact", "config": {"patterns": ["x"]}}]);
    assert_eq!(needed(run_with(&patterns, &[]).await.1), ["i1", "o1", "i2", "o2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_leaves_the_very_bytes() {
    let fetched = [("i1", Ok("{\"a\": 1}")), ("i2", Ok("2")), ("o1", Ok(" [3] ")), ("o2", Ok("null"))];
    let (document, outcome) = run_with(&truncate(1000), &fetched).await;
    let ChainOutcome::Send(body) = outcome else { panic!("{outcome:?}") };
    assert_eq!(body.bytes.as_ptr(), document.as_ptr());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_takes_in_what_it_edits_and_nothing_else() {
    let fetched = [("i1", Ok(r#""0123456789""#)), ("i2", Ok("2")), ("o1", Ok("{}")), ("o2", Ok("null"))];
    let (_, outcome) = run_with(&truncate(9), &fetched).await;
    let ChainOutcome::Send(body) = outcome else { panic!("{outcome:?}") };
    let text = std::str::from_utf8(&body.bytes).unwrap();
    let expected = r#"{"runs":[{"id":"1","inputs":"012345678… [1 characters cut]","outputs_s3_urls":{"ROOT":{"presigned_url":"o1"}}},"#;
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains(r#"{"id":"2","inputs":null,"inputs_s3_urls""#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_had_is_decided_by_on_error() {
    let fetched = [("i1", Ok("{}")), ("i2", Err("it is gone"))];
    for (on_error, says) in [("hold", "Held"), ("drop", "Dropped"), ("skip", "Send")] {
        let chain = json!([{"name": "redact", "on_error": on_error, "config": {"pointers": ["/inputs/secret"]}}]);
        let (document, outcome) = run_with(&chain, &fetched).await;
        assert!(format!("{outcome:?}").starts_with(says), "{outcome:?}");
        match outcome {
            ChainOutcome::Held(failure) | ChainOutcome::Dropped(failure) => {
                let message = "the inputs of the run 2 lie elsewhere and cannot be had: it is gone";
                assert_eq!((failure.export.as_str(), failure.message.as_str()), ("apply", message));
            }
            ChainOutcome::Send(body) => assert_eq!(body.bytes, document),
            other => panic!("{other:?}"),
        }
    }
}
