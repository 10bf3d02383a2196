//! A rule: which runs, how many of them, and to which webhooks.

use crate::model::Timestamp;
use crate::model::endpoint::Endpoint;
use crate::model::ids::{EndpointId, RuleId, WebhookId};
use crate::model::plugin::PluginUse;
use crate::model::project::Project;
use crate::model::secret::Secret;

/// LangSmith's automation, with our additions.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Made by the host where the operator gives none.
    pub id: RuleId,
    /// Unique among rules.
    pub display_name: String,
    /// A rule that is not enabled holds what arrives for it.
    pub is_enabled: bool,
    /// Share of the runs that are sent, 0 to 1; drawn by a hash of rule and run, so that a run's lot never changes.
    pub sampling_rate: f64,
    /// Where it finds runs; none for a rule that only relays.
    pub source: Option<RunSource>,
    /// What `?secret=` has to be at the relay door; without it the door is closed for this rule.
    pub relay_secret: Option<Secret>,
    /// Where the payload goes; ids are unique within the rule.
    pub webhooks: Vec<Webhook>,
    /// When the rule was stored first.
    pub created_at: Timestamp,
    /// When the rule was last changed.
    pub updated_at: Timestamp,
}

/// Default of [`RunSource::window_seconds`].
pub const WINDOW_SECONDS: u32 = 5;

/// Where a rule finds its runs, and which of them it sends.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSource {
    /// The project.
    pub project: Project,
    /// Filter of the run itself; all runs match where there is none.
    pub filter: Option<String>,
    /// Filter of the trace's root run.
    pub trace_filter: Option<String>,
    /// Filter that some run of the trace has to pass.
    pub tree_filter: Option<String>,
    /// Length of a window: how long runs are gathered for one payload.
    pub window_seconds: u32,
    /// Runs from before the rule count from this start time on; acts when the rule is made.
    pub backfill_from: Option<Timestamp>,
    /// Whether feedback statistics carry minimum, maximum, deviation, errors, comments and sources as well.
    pub include_extended_stats: bool,
}

/// One entry of a rule's `webhooks`: an endpoint and the chain that a payload passes on its way there.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Unique within the rule.
    pub id: WebhookId,
    /// The receiver.
    pub endpoint: Endpoint,
    /// The chain, in order.
    pub plugins: Vec<PluginUse>,
}

impl Rule {
    /// The webhook of that id.
    pub fn webhook(&self, id: &WebhookId) -> Option<&Webhook> {
        self.webhooks.iter().find(|webhook| &webhook.id == id)
    }

    /// The endpoint id of one of the rule's webhooks.
    pub fn endpoint_id(&self, webhook: &Webhook) -> EndpointId {
        EndpointId { rule: self.id, webhook: webhook.id.clone() }
    }
}
