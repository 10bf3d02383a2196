//! Every bound of the engine in one place, each with its why. Plugin limits are in [`crate::plugin::PluginLimits`].

use std::time::Duration;

/// A relayed payload after decompression: LangSmith pages its runs by 250, at a few hundred KB each with inline inputs.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Decoded payload bytes that are held in memory at once over all requests; beyond it the door answers 503.
pub const INTAKE_BYTES_IN_FLIGHT_MAX: usize = 256 * 1024 * 1024;

/// An ingest body after decompression. SDKs cut their batches at 20 MiB (Python) and 24 MiB (JavaScript); the rest is room
/// for files and for a run that is large alone. Half of `INTAKE_BYTES_IN_FLIGHT_MAX`, so that one request does not shut out
/// all others.
pub const INGEST_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The same before decompression, where there is any: JSON shrinks to a seventh (captured requests), images hardly. Bounds
/// what decodes to nothing, such as empty gzip members.
pub const INGEST_PACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What `/info` announces as `size_limit_bytes`: LangSmith's own value.
pub const INGEST_ANNOUNCED_BYTES: usize = 20 * 1024 * 1024;

/// Parts of a multipart body, or runs of a batch. A full batch of 100 runs has 1,400 parts without its files and
/// feedback; each part costs some hundred bytes beside its content.
pub const INGEST_PARTS_MAX: usize = 10_000;

/// One JSON part: a run's `inputs`, its `outputs`, its rest. Above the whole batch that SDKs cut at, and half of what a
/// payload may have.
pub const INGEST_JSON_PART_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One attachment: an hour of compressed speech, a few minutes of plain audio.
pub const ATTACHMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long the door waits for durability before it answers 503; LangSmith gives up after 5 s.
pub const ACCEPT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a request's head and body may take to arrive; LangSmith itself gives up after 5 s.
pub const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections to the host's own doors at once; more wait to be accepted. Each holds a file descriptor.
pub const CONNECTIONS_MAX: usize = 4096;

/// How long a TLS handshake at the host's own doors may take.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a `webhook-id` or `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Longest `webhook-id` or `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Longest rules document for `apply`, in bytes.
pub const RULES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a run's inputs or outputs that stay in its row; larger ones go to the object store.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;

/// Inputs or outputs of fewer bytes are never offloaded: a file takes a block of the disk at least, of 4 KiB as a rule,
/// and each object of a bucket costs a request to write and one for each time that it is read.
pub const OFFLOADED_BYTES_MIN: usize = 4 * 1024;

/// How often runs are looked for whose inputs and outputs are to be offloaded.
pub const OFFLOAD_TICK: Duration = Duration::from_mins(1);

/// Runs that are offloaded in one step: who accepts meanwhile waits for one step at most, some milliseconds.
pub const OFFLOAD_RUNS_MAX: usize = 200;

/// Bytes of their layers, but for the last run: what one step holds in memory, and what its transaction gives back.
pub const OFFLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Runs of one step whose blobs are put at once: each waits for the disk or the network.
pub const OFFLOAD_PUTS_MAX: usize = 16;

/// Bytes of one layer of a run, all its writes together, without what is in the object store. Each write of a run reads
/// and writes its layers.
pub const LAYER_BYTES_MAX: usize = 40 * 1024 * 1024;

/// Rules whose secrets are sealed anew in one transaction: a secret takes a few microseconds, and who accepts meanwhile
/// waits for one batch at most.
pub const RESEALED_RULES_MAX: usize = 50;

/// The same in bytes, but for the last rule: one may be as long as a document for `apply`.
pub const RESEALED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Keys of the API. People and programs have one each; more is an accident.
pub const API_KEYS_MAX: usize = 1_000;

/// Characters of the name of an API key.
pub const API_KEY_NAME_CHARS_MAX: usize = 256;

/// How long a link to a blob is good: longer than any delivery is tried by its own schedule, and a day; S3 takes at most 7
/// days.
pub const LINK_LIFETIME: Duration = Duration::from_hours(6 * 24);

/// Bytes of the fields that plugins read of one payload and that lie elsewhere: as much as a payload may have itself.
pub const FETCHED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Fields of one payload that are fetched at once.
pub const FETCHES_MAX: usize = 8;

/// Payloads of which fields are held at once: with the bytes above, the memory that they take at most.
pub const FETCHING_PAYLOADS_MAX: usize = 8;

/// Payloads of one rule that wait for others' fields to be let go of; further ones stay in the store until these are done.
pub const FIELD_WAITERS_MAX: usize = 1000;

/// How long one field may take to be fetched, from name lookup to its last byte.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long all fields of one payload may take together: a server that hangs must not hold up its rule for ever.
pub const FETCHES_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of blobs that one page of runs shows inline; beyond it there are links alone.
pub const BLOBS_SHOWN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Blobs of one page that are read at once: a page of 100 offloaded runs has 200, each some tens of milliseconds away.
pub const BLOBS_SHOWN_AT_ONCE_MAX: usize = 32;

/// Rules of one host; LangSmith allows 200 per workspace.
pub const RULES_MAX: usize = 10_000;

/// Webhooks of one rule.
pub const WEBHOOKS_PER_RULE_MAX: usize = 32;

/// Plugins in one chain.
pub const PLUGINS_PER_CHAIN_MAX: usize = 16;

/// A request that brings datasets or examples: SDKs cut their batches at 20 MB, the rest is room for one large example.
pub const EXAMPLES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Datasets or examples on one page of a list, as in LangSmith's API.
pub const EXAMPLES_PER_PAGE_MAX: usize = 100;

/// Bytes of the examples on one page, but for the last one. A page cannot be cut there, since SDKs take a short page for
/// the last: more is refused.
pub const EXAMPLES_PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Deliveries on one page of a list.
pub const DELIVERIES_PER_PAGE_MAX: usize = 500;

/// Projects, feedback, log entries on one page of LangSmith's lists, as there.
pub const API_PAGE_MAX: usize = 100;

/// Runs on one page of LangSmith's queries; its second API has as many.
pub const RUNS_PER_PAGE_MAX: usize = 1000;

/// Longest name of a project, in characters: of a run's longer one, so many count.
pub const PROJECT_NAME_CHARS_MAX: usize = 256;

/// One piece of feedback: a comment or a correction with room to spare.
pub const FEEDBACK_BYTES_MAX: usize = 256 * 1024;

/// Feedback of one run that filters and statistics look at: the oldest.
pub const FEEDBACK_PER_RUN_MAX: usize = 1000;

/// Payloads that the ledger counts as waiting at most; beyond that the number is this.
pub const LEDGER_WAITING_MAX: usize = 10_000;

/// Deliveries whose attempts say how an endpoint does.
pub const HEALTH_DELIVERIES: usize = 100;

/// Attempts in flight to one endpoint: a slow one costs these slots and nobody else's.
pub const ATTEMPTS_PER_ENDPOINT_MAX: usize = 32;

/// The highest concurrency that a webhook may ask for: one that hangs must leave room for the others.
pub const CONCURRENCY_MAX: u32 = 256;

/// Attempts in flight over all endpoints: each holds a body and a socket.
pub const ATTEMPTS_MAX: usize = 1024;

/// Bytes of the large bodies in flight over all endpoints, but for the last that began.
pub const ATTEMPTS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The same at one endpoint: one that is slow over large bodies must leave room for the others'.
pub const ATTEMPTS_BYTES_PER_ENDPOINT_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a body that is not large: it waits for no room, since the number of attempts bounds what all take together.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

/// Name lookups in flight: each holds a thread of the blocking pool (512), which the store's reads need too.
pub const LOOKUPS_MAX: usize = 256;

/// Payloads that wait in memory between accept and fan-out; what does not fit is found in the store.
pub const FANOUT_QUEUE_MAX: usize = 1024;

/// The same in bytes, with those that are being fanned out: a long backlog must not fill the memory.
pub const FANOUT_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Payloads that are fanned out at once: enough to keep the guest threads and the store's group commit busy.
pub const FANOUTS_MAX: usize = 64;

/// Longest window of a rule, in seconds: a day.
pub const WINDOW_SECONDS_MAX: u32 = 24 * 3600;

/// Runs in one payload that is built here; LangSmith pages its own by as many (`RUN_RULES_QUERY_LIMIT`).
pub const RUNS_PER_PAYLOAD_MAX: usize = 250;

/// Bytes of runs in one payload, but for the last run: far below what the relay door and plugins take.
pub const BUILT_PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Runs that a rule looks at in one go: as many as one payload holds.
pub const LOOK_RUNS_MAX: usize = 250;

/// The same in bytes, but for the last run.
pub const LOOK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of runs on one page of the read side; a page with more ends early and says where to go on.
pub const RUNS_SHOWN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Ids that one request may ask for; a query string or an SDK's list has far fewer, and SQLite takes 32,766 values.
pub const IDS_PER_REQUEST_MAX: usize = 10_000;

/// How long blobs of one request may take to become durable; the SDKs wait 10 s for an answer.
pub const BLOBS_TIMEOUT: Duration = Duration::from_secs(6);

/// Runs that are made durable in one piece of work: other writers come in between the pieces of a large request.
pub const RUNS_PER_WRITE_MAX: usize = 200;

/// The same in bytes, but for a run that is larger alone.
pub const RUNS_PER_WRITE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Runs that one page of the read side looks at once it has found one.
pub const RUNS_READ_PER_PAGE_MAX: usize = 20_000;

/// Bytes of runs that all rules together gather for payloads; beyond it each makes a payload of what it has.
pub const GATHERED_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Looks at once over all rules: each reads at most the bytes above, but for a tree that has to be asked as a whole.
pub const LOOKS_MAX: usize = 8;

/// Projects of which it is known in memory when they were committed to last. Beyond it all are forgotten, and every rule
/// looks once more.
pub const GENERATIONS_MAX: usize = 100_000;

/// Changes without a match after which a rule writes down how far it has looked: what a crash repeats at most.
pub const LOOKED_AT_STEP: i64 = 10_000;

/// Traces that a rule remembers to have looked at in one window.
pub const EXPANDED_TRACES_MAX: usize = 100_000;

/// Traces of which a rule with a tree filter remembers between windows whether they passed, some 100 bytes each. Beyond it
/// all are forgotten, and the next change of each asks its tree as a whole.
pub const TRACES_REMEMBERED_MAX: usize = 10_000;

/// The longest timeout of a webhook, in seconds: Standard Webhooks recommends 15 to 30.
pub const TIMEOUT_SECONDS_MAX: u32 = 60;

/// How long a claim lasts: longer than an attempt can take (twice the longest timeout, and 5 s for the body).
pub const LEASE: Duration = Duration::from_secs(150);

/// Attempts of one delivery.
pub const ATTEMPTS_OF_DELIVERY_MAX: u32 = 100;

/// How long the delays between attempts may be together, before jitter: the durable schedule takes 75 hours.
pub const BACKOFF_MAX: Duration = Duration::from_hours(4 * 24);

/// Secrets that requests are signed with at once: the one before, and one that nobody knows yet.
pub const SIGNING_SECRETS_MAX: usize = 4;

/// The lowest rate that a webhook may be limited to, per second: one attempt in 100 s.
pub const RATE_PER_SECOND_MIN: f64 = 0.01;

/// The highest one: above it none is needed.
pub const RATE_PER_SECOND_MAX: f64 = 10_000.0;

/// How often fan-out and dispatch look at the store without being nudged.
pub const TICK: Duration = Duration::from_secs(1);

/// How much of a receiver's answer is read, so that the connection can be used again.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// How long a receiver's answer is read.
pub const RESPONSE_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long runs are kept unless told otherwise: LangSmith's short tier, `ttl_s`.
pub const RUNS_KEPT: Duration = Duration::from_hours(14 * 24);

/// How long payloads, deliveries and their attempts are kept unless told otherwise: a month to look back and to replay.
pub const HISTORY_KEPT: Duration = Duration::from_hours(30 * 24);

/// How often retention looks for what is past its time.
pub const PRUNE_TICK: Duration = Duration::from_mins(1);

/// Rows that one step of retention removes: who accepts meanwhile waits for one step at most, some milliseconds.
pub const PRUNE_ROWS_MAX: usize = 500;

/// Bytes of the runs in one step, but for one that is larger alone: each of their pages is read to be given back.
pub const PRUNE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often retention lists the object store, where each list costs money.
pub const PRUNE_BLOBS_TICK: Duration = Duration::from_hours(1);

/// Blobs that one step of retention deletes: as many as S3 takes in one request.
pub const PRUNE_BLOBS_MAX: usize = 1000;

/// What of SQLite's write-ahead log stays on disk when a burst is over; a usual checkpoint leaves 4 MB.
pub const WAL_KEPT_BYTES: i64 = 64 * 1024 * 1024;

/// Child processes at once that configure or compile plugins: each fills a core, and the payloads need them too.
pub const PLUGIN_CHILDREN_MAX: usize = 2;

/// CPU time of such a child, in seconds: the largest honest component compiles in a few, a compile bomb never ends.
pub const PLUGIN_CHILD_CPU_SECONDS_MAX: u64 = 60;

/// How long such a child may take by the clock: a busy machine must not fail an honest component.
pub const PLUGIN_CHILD_TIMEOUT: Duration = Duration::from_secs(180);

/// Memory of such a child that it can write to: the guest's 64 MiB in several copies, and what the compiler needs.
pub const PLUGIN_CHILD_DATA_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Machine code of one component with its memory image: a file of 16 MiB becomes five to eight times as large.
pub const MACHINE_CODE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Machine code of the snapshots that are held in memory, but for one that is larger alone; the least recently used go,
/// and come back from the cache.
pub const SNAPSHOTS_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Plugins with a configuration that are remembered, snapshots or not: more than a host has webhooks in use.
pub const SNAPSHOTS_MAX: usize = 10_000;

/// Processes that wait for a payload of the plugin that they serve: enough that those in use stay, few enough for a small
/// machine, at some 10 MB each.
pub const GUEST_PROCESSES_MAX: usize = 32;

/// After a preparation that failed, payloads are configured one by one for so long before the next is tried.
pub const SNAPSHOT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long an unused entry of the plugin cache stays on disk: a rule that runs once a month finds its own.
pub const PLUGIN_CACHE_KEPT: Duration = Duration::from_hours(40 * 24);

/// Bytes of the plugin cache on disk; the entries that were not used for longest go.
pub const PLUGIN_CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// How long a stopping host waits for attempts in flight, as long as one with the default timeout can take, and for plugins
/// at work; what is left is taken over by the next start.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);

/// Longest error text that is kept of an attempt or a plugin, in bytes.
pub const ERROR_TEXT_BYTES_MAX: usize = 2048;

/// Failures of a plugin that are remembered: what an author looks through, some KiB each.
pub const PLUGIN_FAILURES_KEPT: usize = 20;

/// Bytes of what a plugin printed that are remembered with a failure: a panic's message and what stands before it.
pub const PLUGIN_FAILURE_OUTPUT_BYTES_MAX: usize = 2 * 1024;

/// Plugins whose failures are remembered, those that rules name and that are not there included.
pub const FAILING_PLUGINS_MAX: usize = 256;

/// Frames that are shown of a trap, the innermost: an author looks at the first few.
pub const PLUGIN_FRAMES_MAX: usize = 16;

/// Faults of a plugin with one configuration, within the window, that put it into quarantine.
pub const QUARANTINE_FAULTS: usize = 5;

/// See [`QUARANTINE_FAULTS`]: what fails less often costs less than an outage of the plugin would.
pub const QUARANTINE_WINDOW: Duration = Duration::from_secs(60);

/// How long a quarantine lasts until its first probe: what passes by itself passes soon.
pub const QUARANTINE_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest time between two probes of a quarantine, each twice the one before.
pub const QUARANTINE_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Plugins with a configuration whose faults are counted; beyond it, the one that failed least recently starts anew.
pub const AILING_PLUGINS_MAX: usize = 1000;

/// How often quarantines are looked at whose held deliveries go on by themselves.
pub const RELEASE_TICK: Duration = Duration::from_secs(1);

/// How often the store is asked for such deliveries while no plugin is in quarantine: what one look may have missed.
pub const RELEASE_LOOK: Duration = Duration::from_mins(1);

/// Held deliveries that go on at once: new payloads need the guests' threads too.
pub const RELEASES_AT_ONCE: usize = 4;

/// Configurations that a new file is tried with before it becomes active: more than a host uses a plugin with.
pub const TRIED_CONFIGURATIONS_MAX: usize = 32;
