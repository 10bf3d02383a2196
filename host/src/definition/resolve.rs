//! From a definition to the rule that is stored: what is masked is taken from the rule as it was, ids are made.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::definition::access::resolve_access;
use crate::definition::{Problem, Problems, RuleDefinition, SourceDefinition, WebhookDefinition};
use crate::model::Timestamp;
use crate::model::endpoint::{Endpoint, EndpointUrl};
use crate::model::ids::{ProjectId, RuleId, WebhookId};
use crate::model::project::{DEFAULT_PROJECT, Project};
use crate::model::rule::{Rule, RunSource, Webhook};
use crate::model::secret::{MASK, Secret};
use crate::model::signing::SigningSecret;

/// Characters of a webhook's default id: 64 bits, for at most 32 webhooks of a rule.
const DEFAULT_ID_CHARS: usize = 16;

const MASKED_URL: &str = "has a masked part, and is not the URL of a stored webhook as it is shown; write the masked part \
                          out";

/// The rule that a definition means. `before` is the stored rule that it replaces; `id` is used where there is none;
/// `projects` are those that exist; `at` is its place, for what is wrong.
///
/// # Errors
/// URLs that are none, webhooks of one id, masked values of which there is nothing to keep.
pub fn resolve(
    definition: RuleDefinition,
    before: Option<&Rule>,
    id: RuleId,
    projects: &[Project],
    at: &str,
    now: Timestamp,
) -> Result<Rule, Problems> {
    let mut problems = Problems::new();
    let id = before.map_or(id, |rule| rule.id);
    let source = definition.source.and_then(|source| {
        let before = before.and_then(|rule| rule.source.as_ref());
        resolve_source(source, before, projects, at, now, &mut problems)
    });
    let relay_secret = definition.relay_secret.and_then(|secret| {
        let kept = before.and_then(|rule| rule.relay_secret.as_ref());
        unmasked(secret, kept, &place(at, "relay_secret"), &mut problems)
    });
    let mut webhooks: Vec<Webhook> = Vec::new();
    for (index, webhook) in definition.webhooks.into_iter().enumerate() {
        webhooks.extend(resolve_webhook(webhook, before, id, &place(at, &format!("webhooks[{index}]")), &mut problems));
    }
    let mut ids = HashSet::new();
    for webhook in webhooks.iter().filter(|webhook| !ids.insert(&webhook.id)) {
        let problem = format!("more than one has the id `{}`; give each an `id` of its own", webhook.id);
        problems.push(Problem { at: place(at, "webhooks"), problem });
    }
    let rule = Rule {
        id,
        display_name: definition.display_name,
        is_enabled: definition.is_enabled,
        sampling_rate: definition.sampling_rate,
        source,
        relay_secret,
        webhooks,
        created_at: before.map_or(now, |rule| rule.created_at),
        updated_at: now,
    };
    if problems.is_empty() { Ok(rule) } else { Err(problems) }
}

/// A project that is only named and not there yet is made when the rule is stored.
fn resolve_source(
    source: SourceDefinition,
    before: Option<&RunSource>,
    projects: &[Project],
    at: &str,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<RunSource> {
    let mut wrong = |key: &str, problem: String| problems.push(Problem { at: place(at, key), problem });
    if before.is_some_and(|before| before.backfill_from != source.backfill_from) {
        wrong("backfill_from", "acts only when a rule is made; leave it as it is, or make another rule".to_owned());
    }
    let by_id = source.project_id.map(|id| (id, projects.iter().find(|project| project.id == id)));
    let project = match (by_id, source.project_name) {
        (Some((id, None)), _) => {
            wrong("session_id", format!("there is no project {id}; name a new one with `session_name`"));
            return None;
        }
        (Some((_, Some(project))), Some(name)) if project.name != name => {
            let problem = format!("is `{name}`, and `session_id` is the project `{}`; give one of both", project.name);
            wrong("session_name", problem);
            return None;
        }
        (Some((_, Some(project))), _) => project.clone(),
        (None, name) => {
            let name = name.unwrap_or_else(|| DEFAULT_PROJECT.to_owned());
            let known = projects.iter().find(|project| project.name == name).cloned();
            known.unwrap_or_else(|| Project { id: ProjectId::generate(), name, created_at: now })
        }
    };
    Some(RunSource {
        project,
        filter: source.filter,
        trace_filter: source.trace_filter,
        tree_filter: source.tree_filter,
        window_seconds: source.window_seconds,
        backfill_from: source.backfill_from,
        include_extended_stats: source.include_extended_stats,
    })
}

fn resolve_webhook(
    webhook: WebhookDefinition,
    before: Option<&Rule>,
    rule: RuleId,
    at: &str,
    problems: &mut Problems,
) -> Option<Webhook> {
    let old = before.and_then(|rule| counterpart(&webhook, rule));
    let url = match old.filter(|old| old.endpoint.url.to_string() == webhook.url.expose()) {
        Some(old) => Ok(old.endpoint.url.clone()),
        None if webhook.url.expose().contains(MASK) => Err(MASKED_URL.to_owned()),
        None => EndpointUrl::parse(webhook.url.expose()).map_err(|error| error.to_string()),
    };
    let url = url.map_err(|problem| problems.push(Problem { at: place(at, "url"), problem })).ok()?;
    // What is kept goes where it went, and nowhere else.
    let same_place = old.filter(|old| old.endpoint.url.expose().origin() == url.expose().origin());
    let mut headers = BTreeMap::new();
    for (name, value) in webhook.headers {
        let kept = same_place.and_then(|old| old.endpoint.headers.get(&name));
        let value = unmasked(value, kept, &place(at, &format!("headers.{name}")), problems)?;
        headers.insert(name, value);
    }
    let kept = old.map_or(&[][..], |old| &old.endpoint.signing_secrets);
    let signing_secrets = resolve_signing(webhook.signing_secrets, kept, &place(at, "signing_secrets"), problems)?;
    let kept = old.map(|old| &*old.endpoint.access);
    let access = Arc::new(resolve_access(webhook.access, kept, same_place.is_some(), &url, at, problems)?);
    let id = webhook.id.unwrap_or_else(|| default_id(rule, &url));
    let endpoint = Endpoint { url, headers, retry: webhook.retry, pace: webhook.pace, signing_secrets, access };
    Some(Webhook { id, endpoint, plugins: webhook.plugins })
}

/// The first mask stands for the first secret that there is, the second for the second: so a new one is put before them,
/// and the last one is left out.
fn resolve_signing(
    given: Vec<Secret>,
    kept: &[SigningSecret],
    at: &str,
    problems: &mut Problems,
) -> Option<Vec<SigningSecret>> {
    let mut kept = kept.iter();
    let mut secrets = Vec::new();
    for (index, secret) in given.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let masked = (secret.expose() == MASK).then(|| kept.next()).flatten();
        let secret = unmasked(secret, masked.map(SigningSecret::secret), &at, problems)?;
        match SigningSecret::parse(secret) {
            Ok(secret) => secrets.push(secret),
            Err(error) => problems.push(Problem { at, problem: error.to_string() }),
        }
    }
    Some(secrets)
}

/// The stored webhook that a definition stands for: by id, else by its URL as it is shown.
fn counterpart<'a>(webhook: &WebhookDefinition, before: &'a Rule) -> Option<&'a Webhook> {
    match &webhook.id {
        Some(id) => before.webhook(id),
        None => before.webhooks.iter().find(|old| {
            let url = &old.endpoint.url;
            url.expose().as_str() == webhook.url.expose() || url.to_string() == webhook.url.expose()
        }),
    }
}

/// The kept value where the given one is the mask.
pub(super) fn unmasked(given: Secret, kept: Option<&Secret>, at: &str, problems: &mut Problems) -> Option<Secret> {
    if given.expose() != MASK {
        if given.expose().contains(MASK) {
            let problem = "has a masked part; a mask stands for the whole value, so write it out".to_owned();
            problems.push(Problem { at: at.to_owned(), problem });
        }
        return Some(given);
    }
    if kept.is_none() {
        let problem = "is masked, and there is no value to keep; give the value".to_owned();
        problems.push(Problem { at: at.to_owned(), problem });
    }
    kept.cloned()
}

/// Stays the same while only the query changes, so that a rotated secret does not make another webhook.
pub(super) fn default_id(rule: RuleId, url: &EndpointUrl) -> WebhookId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(rule.0.as_bytes());
    hasher.update(url.without_query().as_bytes());
    WebhookId(hasher.finalize().to_hex()[..DEFAULT_ID_CHARS].to_owned())
}

pub(super) fn place(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}
