//! A rule as its row keeps it: JSON in which every secret is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::model::endpoint::{Endpoint, EndpointUrl};
use crate::model::ids::{ProjectId, WebhookId};
use crate::model::pace::Pace;
use crate::model::plugin::PluginUse;
use crate::model::project::Project;
use crate::model::retry::Retry;
use crate::model::rule::{Rule, RunSource, Webhook};
use crate::model::secret::Secret;
use crate::model::signing::SigningSecret;
use crate::secrets::{Keyring, SecretsError};
use crate::store::sqlite::Failure;
use crate::store::sqlite::stored_access::StoredAccess;

/// What of a rule is not a column of its own.
#[derive(Serialize, Deserialize)]
pub(super) struct Definition {
    is_enabled: bool,
    sampling_rate: f64,
    relay_secret: Option<String>,
    /// Absent in rules of a time when all of them only relayed.
    #[serde(default)]
    source: Option<StoredSource>,
    webhooks: Vec<StoredWebhook>,
}

/// The project is read by its id.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredSource {
    pub(super) project: ProjectId,
    filter: Option<String>,
    trace_filter: Option<String>,
    tree_filter: Option<String>,
    window_seconds: u32,
    backfill_from: Option<Timestamp>,
    include_extended_stats: bool,
}

/// The URL is sealed whole: Slack and others put the credential into its path.
#[derive(Serialize, Deserialize)]
struct StoredWebhook {
    id: WebhookId,
    url: String,
    headers: BTreeMap<String, String>,
    #[serde(flatten)]
    retry: Retry,
    #[serde(default)]
    pace: Pace,
    #[serde(default)]
    signing_secrets: Vec<String>,
    #[serde(default)]
    access: StoredAccess,
    plugins: Vec<PluginUse>,
}

impl Definition {
    pub(super) fn seal(rule: &Rule, keyring: &Keyring) -> Self {
        let webhook = |webhook: &Webhook| StoredWebhook {
            id: webhook.id.clone(),
            url: keyring.seal(&Secret::new(webhook.endpoint.url.expose().as_str())),
            headers: webhook.endpoint.headers.iter().map(|(name, value)| (name.clone(), keyring.seal(value))).collect(),
            retry: webhook.endpoint.retry.clone(),
            pace: webhook.endpoint.pace,
            signing_secrets: webhook.endpoint.signing_secrets.iter().map(|it| keyring.seal(it.secret())).collect(),
            access: StoredAccess::seal(&webhook.endpoint.access, keyring),
            plugins: webhook.plugins.clone(),
        };
        Self {
            is_enabled: rule.is_enabled,
            sampling_rate: rule.sampling_rate,
            relay_secret: rule.relay_secret.as_ref().map(|secret| keyring.seal(secret)),
            source: rule.source.as_ref().map(StoredSource::of),
            webhooks: rule.webhooks.iter().map(webhook).collect(),
        }
    }

    /// Fills the rest of a rule whose columns are known.
    pub(super) fn open(self, mut rule: Rule, projects: &[Project], keyring: &Keyring) -> Result<Rule, Failure> {
        rule.is_enabled = self.is_enabled;
        rule.sampling_rate = self.sampling_rate;
        rule.relay_secret = self.relay_secret.map(|sealed| keyring.open(&sealed)).transpose()?;
        rule.source = self.source.map(|source| source.open(projects)).transpose()?;
        rule.webhooks =
            self.webhooks.into_iter().map(|webhook| webhook.open(keyring)).collect::<Result<_, SecretsError>>()?;
        Ok(rule)
    }
}

impl StoredSource {
    fn of(source: &RunSource) -> Self {
        Self {
            project: source.project.id,
            filter: source.filter.clone(),
            trace_filter: source.trace_filter.clone(),
            tree_filter: source.tree_filter.clone(),
            window_seconds: source.window_seconds,
            backfill_from: source.backfill_from,
            include_extended_stats: source.include_extended_stats,
        }
    }

    fn open(self, projects: &[Project]) -> Result<RunSource, Failure> {
        let project = projects.iter().find(|project| project.id == self.project);
        Ok(RunSource {
            project: project.ok_or_else(|| Failure::Missing(format!("there is no project {}", self.project)))?.clone(),
            filter: self.filter,
            trace_filter: self.trace_filter,
            tree_filter: self.tree_filter,
            window_seconds: self.window_seconds,
            backfill_from: self.backfill_from,
            include_extended_stats: self.include_extended_stats,
        })
    }
}

impl StoredWebhook {
    fn open(self, keyring: &Keyring) -> Result<Webhook, SecretsError> {
        let url = keyring.open(&self.url)?;
        let open_header = |(name, sealed): (String, String)| Ok((name, keyring.open(&sealed)?));
        let open_signing =
            |sealed: &String| SigningSecret::parse(keyring.open(sealed)?).map_err(|_| SecretsError::Malformed);
        Ok(Webhook {
            id: self.id,
            endpoint: Endpoint {
                url: EndpointUrl::parse(url.expose()).map_err(|_| SecretsError::Malformed)?,
                headers: self.headers.into_iter().map(open_header).collect::<Result<_, SecretsError>>()?,
                retry: self.retry,
                pace: self.pace,
                signing_secrets: self.signing_secrets.iter().map(open_signing).collect::<Result<_, SecretsError>>()?,
                access: Arc::new(self.access.open(keyring)?),
            },
            plugins: self.plugins,
        })
    }
}
