//! Chains over runs of which fields lie elsewhere: what a guest reaches is fetched, and the chain is run again with it.
//!
//! Once for all webhooks of a payload and within its bound. A blob of ours is read by its key where the payload was built
//! here; what a sender wrote is no more than a URL, and goes the way of every URL that others chose.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures::stream::{self, StreamExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;
use url::Url;

use crate::aside::aside;
use crate::blobs::{BlobKey, Blobs};
use crate::document::{FieldLink, linked_value};
use crate::fanout::field_turns::{FieldTurn, FieldTurns};
use crate::limits;
use crate::model::ids::{PayloadId, RuleId};
use crate::model::payload::PendingPayload;
use crate::model::plugin::PluginUse;
use crate::outbound::{Allowance, Fetch, FetchFailure};
use crate::plugin::{ChainOutcome, Fetched, PluginRuntime};

const OUT_OF_TIME: &str = "the fields that plugins read of the payload take too long together";

/// What fetching works with.
pub(super) struct Sources<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) fetch: &'a dyn Fetch,
    /// Who may hold fields.
    pub(super) turns: &'a Arc<FieldTurns>,
}

/// How a payload comes to the turn to hold fields, which is kept as long as they are.
pub(super) enum Turn {
    Held(FieldTurn),
    /// Waits for it once there is a field to hold, before all payloads of its rule: somebody waits for the outcome.
    Waits,
    /// The same without waiting: where there is none, what the chains say counts for nothing.
    IfFree,
}

/// The fields of one payload that were fetched so far.
pub(super) struct Linked<'a> {
    payload: PayloadId,
    rule: RuleId,
    sources: Sources<'a>,
    is_built: bool,
    allowance: Allowance,
    waits: bool,
    held: Mutex<Held>,
}

struct Held {
    fetched: Arc<Fetched>,
    time_left: Duration,
    turn: Option<FieldTurn>,
    /// A field was wanted, and there was no turn.
    is_short: bool,
}

impl<'a> Linked<'a> {
    /// Nothing fetched yet.
    pub(super) fn of(payload: &PendingPayload, turn: Turn, sources: Sources<'a>) -> Self {
        let waits = matches!(turn, Turn::Waits);
        let turn = if let Turn::Held(turn) = turn { Some(turn) } else { None };
        let held = Held { fetched: Arc::default(), time_left: limits::FETCHES_TIMEOUT, turn, is_short: false };
        let allowance = Allowance::of(limits::FETCHED_BYTES_MAX);
        let PendingPayload { id, rule, is_built, .. } = *payload;
        Self { payload: id, rule, sources, is_built, allowance, waits, held: Mutex::new(held) }
    }

    /// Whether fields were wanted and there was no turn to hold them.
    pub(super) fn into_is_short(self) -> bool {
        self.held.into_inner().is_short
    }

    /// Runs a chain until it needs nothing more. [`ChainOutcome::Needs`] where it does not come to that.
    pub(super) async fn run(&self, plugins: &dyn PluginRuntime, chain: &[PluginUse], document: Bytes) -> ChainOutcome {
        let mut fetched = Arc::default();
        let mut outcome = plugins.run_with(chain, self.payload, document.clone(), fetched).await;
        // Each plugin reaches for inputs once and for outputs once.
        for _ in 0..chain.len() * 2 {
            let ChainOutcome::Needs(links) = outcome else { break };
            let Some(all) = self.fetch(&links).await else { return ChainOutcome::Needs(links) };
            fetched = all;
            outcome = plugins.run_with(chain, self.payload, document.clone(), fetched).await;
        }
        outcome
    }

    /// All that was fetched, these links included; none without a turn. Webhooks wait for each other here: what one needs
    /// the next may too.
    async fn fetch(&self, links: &[FieldLink]) -> Option<Arc<Fetched>> {
        let mut held = self.held.lock().await;
        // Once short is short: what another chain has come to counts for nothing.
        if held.turn.is_none() && !held.is_short {
            let turns = self.sources.turns;
            held.turn = if self.waits { Some(turns.take_first(self.rule).await) } else { turns.try_take(self.rule) };
            held.is_short = held.turn.is_none();
        }
        if held.is_short {
            return None;
        }
        let begun = Instant::now();
        let until = begun + held.time_left;
        // Each once, however often it is asked for.
        let missing = links.iter().filter(|link| !held.fetched.has(&link.url));
        let missing: HashMap<_, _> = missing.map(|link| (link.url.clone(), link.clone())).collect();
        let values = stream::iter(missing).map(|(url, link)| async move {
            let value = timeout_at(until, self.value(&link)).await;
            (url, value.unwrap_or_else(|_| Err(OUT_OF_TIME.to_owned())))
        });
        let values: Vec<_> = values.buffer_unordered(limits::FETCHES_MAX).collect().await;
        held.time_left = held.time_left.saturating_sub(begun.elapsed());
        let fetched = Arc::make_mut(&mut held.fetched);
        for (url, value) in values {
            fetched.insert(url, value);
        }
        debug!(bytes = fetched.len_bytes(), "fetched fields of a payload that lie elsewhere");
        Some(held.fetched.clone())
    }

    /// One field, or why it cannot be had.
    async fn value(&self, link: &FieldLink) -> Result<ByteString, String> {
        let bytes = match self.key(link) {
            Some(key) => timeout(limits::FETCH_TIMEOUT, self.blob(&key)).await.unwrap_or(Err(too_slow())),
            None => self.foreign(&link.url).await,
        }?;
        aside(move || linked_value(bytes)).await.map_err(|error| format!("what lies there is {error}"))
    }

    /// A key is believed where nobody but us can have written it.
    fn key(&self, link: &FieldLink) -> Option<BlobKey> {
        link.key.as_deref().filter(|_| self.is_built)?.parse().ok()
    }

    async fn blob(&self, key: &BlobKey) -> Result<Bytes, String> {
        let found = self.sources.blobs.read(key).await.map_err(|error| error.to_string())?;
        let content = found.ok_or_else(|| format!("there is no blob {key} any more"))?;
        let mut share = self.allowance.share();
        if !usize::try_from(content.size_bytes).is_ok_and(|bytes| share.take(bytes)) {
            return Err(FetchFailure::TooLarge.to_string());
        }
        let bytes = content.into_bytes().await.map_err(|error| error.to_string())?;
        share.keep();
        Ok(bytes)
    }

    async fn foreign(&self, url: &str) -> Result<Bytes, String> {
        let url = Url::parse(url).map_err(|error| format!("its link is no URL: {error}"))?;
        self.sources.fetch.fetch(&url, &self.allowance).await.map_err(|error| error.to_string())
    }
}

fn too_slow() -> String {
    FetchFailure::TimedOut.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::blobs::{BlobSettings, LocalSettings, SigningKey};
    use crate::model::Timestamp;
    use crate::model::payload::Body;
    use crate::model::plugin::{PluginFailure, PluginName, Stages};
    use crate::plugin::{FailureRecord, PluginInfo, Readiness};

    /// Answers each URL with itself as a JSON string, or never.
    struct Scripted {
        hangs: bool,
        fetches: AtomicUsize,
    }

    #[async_trait]
    impl Fetch for Scripted {
        async fn fetch(&self, url: &Url, _: &Allowance) -> Result<Bytes, FetchFailure> {
            self.fetches.fetch_add(1, Ordering::Relaxed);
            if self.hangs {
                std::future::pending::<()>().await;
            }
            Ok(Bytes::from(format!("{:?}", url.as_str())))
        }
    }

    /// A chain that asks for so many links, one at a time.
    struct Asking(usize);

    #[async_trait]
    impl PluginRuntime for Asking {
        async fn run_with(
            &self,
            _: &[PluginUse],
            _: PayloadId,
            document: Bytes,
            fetched: Arc<Fetched>,
        ) -> ChainOutcome {
            let urls = (0..self.0).map(|number| format!("https://elsewhere.example/{number}"));
            match urls.into_iter().find(|url| !fetched.has(url)) {
                Some(url) => ChainOutcome::Needs(vec![FieldLink { url, key: None }]),
                None => ChainOutcome::Send(Body::json(document)),
            }
        }

        async fn check(&self, _: &PluginUse) -> Result<Stages, PluginFailure> {
            Ok(Stages::default())
        }

        fn plugins(&self) -> Vec<PluginInfo> {
            Vec::new()
        }

        fn failures(&self, _: &PluginName) -> Vec<FailureRecord> {
            Vec::new()
        }

        fn readiness(&self, _: &PluginUse) -> Readiness {
            Readiness::Ready
        }

        fn has_quarantines(&self) -> bool {
            false
        }
    }

    fn payload() -> PendingPayload {
        let (id, rule, accepted_at) = (PayloadId::generate(), RuleId(uuid::Uuid::nil()), Timestamp::UNIX_EPOCH);
        PendingPayload { id, rule, accepted_at, document: Bytes::new(), is_built: false }
    }

    fn no_blobs(folder: &std::path::Path) -> Blobs {
        let settings = LocalSettings {
            folder: folder.to_owned(),
            public_url: "http://localhost".parse().unwrap(),
            signing_key: SigningKey::new([7; 32]),
        };
        Blobs::open(BlobSettings::Local(settings)).unwrap()
    }

    fn plugin() -> PluginUse {
        serde_json::from_value(serde_json::json!({"name": "any"})).unwrap()
    }

    /// How a chain of two plugins ends that asks for so many links, how often was fetched, and after how long.
    async fn ran(links: usize, hangs: bool) -> (ChainOutcome, usize, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = no_blobs(folder.path());
        let fetch = Scripted { hangs, fetches: AtomicUsize::new(0) };
        let (turns, payload) = (FieldTurns::new(2), payload());
        let linked = Linked::of(&payload, Turn::IfFree, Sources { blobs: &blobs, fetch: &fetch, turns: &turns });
        if hangs {
            linked.held.lock().await.time_left = Duration::from_millis(20);
        }
        let begun = Instant::now();
        let outcome = linked.run(&Asking(links), &[plugin(), plugin()], Bytes::new()).await;
        let is_free = || turns.try_take(payload.rule).is_some();
        assert_eq!(is_free(), links == 0, "held as long as the fields are");
        drop(linked);
        assert!(is_free());
        (outcome, fetch.fetches.into_inner(), begun.elapsed())
    }

    #[tokio::test]
    async fn a_chain_is_run_again_twice_for_each_plugin_and_no_more() {
        for (links, fetches, is_sent) in [(0, 0, true), (1, 1, true), (4, 4, true), (5, 4, false)] {
            let (outcome, fetched, _) = ran(links, false).await;
            assert_eq!((fetched, matches!(outcome, ChainOutcome::Send(_))), (fetches, is_sent), "{links}: {outcome:?}");
            assert!(is_sent || matches!(outcome, ChainOutcome::Needs(_)));
        }
    }

    #[tokio::test]
    async fn where_one_chain_had_no_turn_those_behind_it_take_none() {
        let folder = tempfile::tempdir().unwrap();
        let (blobs, fetch) = (no_blobs(folder.path()), Scripted { hangs: false, fetches: AtomicUsize::new(0) });
        let (turns, payload) = (FieldTurns::new(2), payload());
        let taken = turns.try_take(payload.rule);
        let linked = Linked::of(&payload, Turn::IfFree, Sources { blobs: &blobs, fetch: &fetch, turns: &turns });
        let first = linked.run(&Asking(1), &[plugin()], Bytes::new()).await;
        drop(taken);
        let second = linked.run(&Asking(1), &[plugin()], Bytes::new()).await;
        assert!(matches!((first, second), (ChainOutcome::Needs(_), ChainOutcome::Needs(_))));
        assert!(linked.into_is_short(), "both are run again");
    }

    #[tokio::test]
    async fn servers_that_hang_cost_a_payload_no_more_than_its_time() {
        let (outcome, _, took) = ran(4, true).await;
        assert!(matches!(outcome, ChainOutcome::Send(_)), "{outcome:?}");
        assert!(took < limits::FETCH_TIMEOUT, "{took:?}");
    }
}
