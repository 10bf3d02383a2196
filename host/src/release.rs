//! RELEASE: lets what was held by a plugin's quarantine go on when that is over, where the operator asked for it.
//!
//! Takes no input: it is ticked, and asks the store what is held and the runtime whether it would be run. Of a quarantine
//! whose pause is over the oldest delivery is the probe, so that no new payload has to come; once one has passed, the
//! others follow, a few at a time. After a restart there is no quarantine, and all that was held by one goes on.
//!
//! It ends: a delivery goes on by a replay, which is sent, filtered, or held again by what the plugin says or does, and
//! that is no quarantine. What meets a quarantine all the same is left as it was. A crash repeats a look.

use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use tracing::{debug, info, warn};

use crate::clock::{Clock, after};
use crate::limits::{RELEASE_LOOK, RELEASE_TICK, RELEASES_AT_ONCE, SHUTDOWN_GRACE};
use crate::model::Timestamp;
use crate::model::ids::{DeliveryId, EndpointId};
use crate::model::plugin::PluginName;
use crate::plugin::{PluginRuntime, Readiness};
use crate::rulebook::RuleBook;
use crate::shutdown::Shutdown;
use crate::store::{self, Store};

/// What came of a delivery that was to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is held no more: another took its place, or somebody was quicker.
    Gone,
    /// It met the quarantine, and is as it was.
    Waits,
    /// It could not go on, in words, and is as it was.
    Failed(String),
}

/// Replays one held delivery.
pub type Release = Arc<dyn Fn(DeliveryId) -> BoxFuture<'static, Released> + Send + Sync>;

/// What the stage works with.
pub struct Parts {
    /// What is held.
    pub store: Arc<dyn Store>,
    /// The rules as they are now.
    pub rulebook: Arc<RuleBook>,
    /// Who is in quarantine.
    pub plugins: Arc<dyn PluginRuntime>,
    /// What is asked of fan-out.
    pub release: Release,
    /// Whether the operator asked for it.
    pub is_asked_for: Arc<dyn Fn(&PluginName) -> bool + Send + Sync>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The release stage.
pub struct ReleaseHeld(Parts);

/// What a look found to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Some,
    /// And there is more.
    More,
}

/// Deliveries to one webhook that one plugin's quarantine holds.
struct Line {
    endpoint: EndpointId,
    plugin: PluginName,
    /// The last that was looked at.
    behind: Option<DeliveryId>,
}

impl ReleaseHeld {
    /// The stage, at rest until [`ReleaseHeld::run`].
    pub fn new(parts: Parts) -> Self {
        Self(parts)
    }

    /// Works until shutdown is requested; what is under way then is finished within the grace period. What fails is tried
    /// again.
    pub async fn run(&self, shutdown: Shutdown) {
        let clock = &self.0.clock;
        let (mut found, mut look_at) = (Found::Nothing, Timestamp::MIN);
        while !shutdown.is_requested() {
            let now = clock.now();
            // The clock may have been set back.
            let is_due = now >= look_at || look_at > after(now, RELEASE_LOOK);
            if is_due || found != Found::Nothing || self.0.plugins.has_quarantines() {
                let is_too_late = async {
                    shutdown.requested().await;
                    clock.sleep_until(after(clock.now(), SHUTDOWN_GRACE)).await;
                };
                found = tokio::select! {
                    found = self.look(&shutdown) => found,
                    () = is_too_late => return,
                };
                look_at = after(now, RELEASE_LOOK);
            }
            if found == Found::More {
                continue;
            }
            tokio::select! {
                () = clock.sleep_until(after(clock.now(), RELEASE_TICK)) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// One look, of about a tick where there is much to do.
    async fn look(&self, shutdown: &Shutdown) -> Found {
        let mut count = 0;
        let has_more = self.release_lines(shutdown, &mut count).await.unwrap_or_else(|error| {
            warn!(%error, "cannot look for what a quarantine holds; trying again");
            false
        });
        if count > 0 {
            info!(deliveries = count, "went on after a quarantine");
        }
        match (has_more, count) {
            (true, _) => Found::More,
            (false, 0) => Found::Nothing,
            (false, _) => Found::Some,
        }
    }

    /// Lines take turns, so that a long one holds up no other. True where there is more to do at once.
    async fn release_lines(&self, shutdown: &Shutdown, count: &mut usize) -> store::Result<bool> {
        let held = self.0.store.quarantined().await?.into_iter();
        let asked_for = held.filter(|(_, plugin)| (self.0.is_asked_for)(plugin));
        let mut lines: Vec<_> = asked_for.map(|(endpoint, plugin)| Line { endpoint, plugin, behind: None }).collect();
        let until = after(self.0.clock.now(), RELEASE_TICK);
        while !lines.is_empty() && !shutdown.is_requested() && self.0.clock.now() < until {
            let mut going_on = Vec::new();
            for line in lines {
                going_on.extend(self.release_some(line, count).await?);
            }
            lines = going_on;
        }
        Ok(!lines.is_empty())
    }

    /// The next few of a line; the line where there may be more.
    async fn release_some(&self, line: Line, count: &mut usize) -> store::Result<Option<Line>> {
        let limit = match self.readiness(&line.endpoint) {
            Readiness::Ready => RELEASES_AT_ONCE,
            Readiness::ProbeDue => 1,
            Readiness::Unready => return Ok(None),
        };
        let ids = self.0.store.held_by_quarantine(&line.endpoint, &line.plugin, line.behind, limit).await?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        let released = join_all(ids.iter().map(|id| (self.0.release)(*id))).await;
        for (id, released) in ids.iter().zip(&released) {
            match released {
                Released::Gone => *count += 1,
                Released::Waits => debug!(delivery = %id, "met the quarantine again"),
                Released::Failed(error) => warn!(delivery = %id, error, "a held delivery cannot go on; trying again"),
            }
        }
        let goes_on = !released.contains(&Released::Waits);
        Ok(goes_on.then_some(Line { behind: Some(last), ..line }))
    }

    /// Of the whole chain, as the rule is now: another plugin of it may be in quarantine too.
    fn readiness(&self, endpoint: &EndpointId) -> Readiness {
        let rules = self.0.rulebook.snapshot();
        let rule = rules.rule(endpoint.rule).filter(|rule| rule.is_enabled);
        let Some(webhook) = rule.and_then(|rule| rule.webhook(&endpoint.webhook)) else { return Readiness::Unready };
        let of_plugins = webhook.plugins.iter().map(|plugin| self.0.plugins.readiness(plugin));
        of_plugins.fold(Readiness::Ready, |chain, plugin| match (chain, plugin) {
            (Readiness::Unready, _) | (_, Readiness::Unready) => Readiness::Unready,
            (Readiness::ProbeDue, _) | (_, Readiness::ProbeDue) => Readiness::ProbeDue,
            (Readiness::Ready, Readiness::Ready) => Readiness::Ready,
        })
    }
}
