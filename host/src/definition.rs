//! Rules as users write them: read from TOML, YAML or JSON, checked as a whole, shown and compared without a secret.
//!
//! Pure. Knows nothing of files, HTTP or the store; whether a plugin takes its configuration is asked elsewhere.

mod access;
mod difference;
mod object;
mod patch;
mod plan;
mod read;
mod resolve;
mod show;
mod source;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod webhook;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::model::access::{ClientAuth, ClientCertificate};
use crate::model::ids::{ProjectId, RuleId, WebhookId};
use crate::model::pace::Pace;
use crate::model::plugin::PluginUse;
use crate::model::retry::Retry;
use crate::model::secret::Secret;

pub use difference::{changes, is_same};
pub use patch::patched;
pub use plan::{Planned, plan};
pub use read::{read_document, read_rule};
pub use resolve::resolve;
pub use show::show;
pub use text::{Format, SyntaxError, parse};

/// A rule as it was written: secrets may stand masked, which means "unchanged".
#[derive(Clone, Debug, PartialEq)]
pub struct RuleDefinition {
    /// Given, or none to be matched by name.
    pub id: Option<RuleId>,
    /// Unique among rules.
    pub display_name: String,
    /// Default: true.
    pub is_enabled: bool,
    /// 0 to 1.
    pub sampling_rate: f64,
    /// Where runs come from; none for a rule that only relays.
    pub source: Option<SourceDefinition>,
    /// None closes the relay door.
    pub relay_secret: Option<Secret>,
    /// Where payloads go.
    pub webhooks: Vec<WebhookDefinition>,
}

/// Where a rule finds its runs, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceDefinition {
    /// `session_id`; one of both is there.
    pub project_id: Option<ProjectId>,
    /// `session_name`.
    pub project_name: Option<String>,
    /// Checked.
    pub filter: Option<String>,
    /// Checked.
    pub trace_filter: Option<String>,
    /// Checked.
    pub tree_filter: Option<String>,
    /// In seconds.
    pub window_seconds: u32,
    /// Acts when the rule is made.
    pub backfill_from: Option<Timestamp>,
    /// Whether feedback statistics carry more.
    pub include_extended_stats: bool,
}

/// A webhook as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookDefinition {
    /// Given, or none for the default: a hash of rule and URL without its query.
    pub id: Option<WebhookId>,
    /// Not yet checked, since it may be masked.
    pub url: Secret,
    /// Names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// Which outcomes are retried, how often, after what delay.
    pub retry: Retry,
    /// How much is sent at once, how fast, in which order.
    pub pace: Pace,
    /// The newest first; not yet checked, since they may be masked.
    pub signing_secrets: Vec<Secret>,
    /// TLS and tokens.
    pub access: AccessDefinition,
    /// The chain, in order.
    pub plugins: Vec<PluginUse>,
}

/// A webhook's access as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessDefinition {
    /// `ca`; checked.
    pub authority: Option<String>,
    /// The key may be masked.
    pub client_certificate: Option<ClientCertificate>,
    /// See [`OAuth2Definition`].
    pub oauth2: Option<OAuth2Definition>,
}

/// Client credentials as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2Definition {
    /// Not yet checked, since it may be masked.
    pub token_url: Secret,
    /// Who the host is.
    pub client_id: String,
    /// May be masked.
    pub client_secret: Secret,
    /// What for.
    pub scope: Option<String>,
    /// Whom for.
    pub audience: Option<String>,
    /// Where id and secret stand.
    pub client_auth: ClientAuth,
}

/// Something wrong in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: `rules[0].webhooks[1].url`.
    pub at: String,
    /// What is wrong there and what would be right; never with a secret.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() { f.write_str(&self.problem) } else { write!(f, "{}: {}", self.at, self.problem) }
    }
}

/// All that is wrong, at once.
pub type Problems = Vec<Problem>;
