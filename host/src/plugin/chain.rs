//! A payload on its way through a chain, each plugin in an instance of its own.

use std::sync::Arc;

use bytes::Bytes;

use crate::document::Document;
use crate::model::ids::PayloadId;
use crate::model::payload::Body;
use crate::model::plugin::{OnError, PluginFailure, PluginFailureKind};
use crate::plugin::ChainOutcome;
use crate::plugin::guest_log::write_down;
use crate::plugin::guests::Guests;
use crate::plugin::health::Health;
use crate::plugin::registry::component::Callable;
use crate::plugin::registry::{Active, PluginKey};
use crate::plugin::sandbox::call::{Called, Made, Usage};
use crate::plugin::sandbox::linked::{Fetched, Links};

/// One plugin of a chain, as it was found when the chain began.
pub(super) struct Link {
    pub(super) found: Result<(Active, PluginKey), PluginFailure>,
    /// The plugin as it is once configured, where that is at hand.
    pub(super) snapshot: Option<Arc<Callable>>,
    pub(super) config: String,
    pub(super) on_error: OnError,
}

/// What there is beside a payload and its chain.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) payload: PayloadId,
    pub(super) guests: &'a Guests,
    pub(super) health: &'a Health,
}

/// Passes a payload through the chain, in order.
pub(super) fn run(chain: Vec<Link>, source: Bytes, fetched: Arc<Fetched>, context: Context<'_>) -> ChainOutcome {
    let Some(first) = chain.first() else { return ChainOutcome::Send(Body::json(source)) };
    let mut document = match Document::parse(source) {
        Ok(document) => document,
        Err(error) => return ChainOutcome::Held(unreadable(first, &error.to_string())),
    };
    let links = Arc::new(Links::of(&document, fetched));
    for link in chain {
        let before = (link.on_error == OnError::Skip).then(|| document.clone());
        match (attended(&link, document, &links, context), before) {
            (Ok(Made::Document(made)), _) => document = made,
            (Ok(Made::Body(body)), _) => return ChainOutcome::Send(body),
            (Ok(Made::NoRuns | Made::Nothing), _) => return ChainOutcome::Filtered,
            (Ok(Made::Needs(needed, _)), _) => return ChainOutcome::Needs(needed),
            (Err(failure), Some(before)) => {
                warn(&failure, "skipping a plugin");
                document = before;
            }
            (Err(failure), None) if link.on_error == OnError::Drop => {
                warn(&failure, "a plugin failed: its payload is dropped");
                return ChainOutcome::Dropped(failure);
            }
            (Err(failure), None) => {
                warn(&failure, "a plugin failed: its payload is held");
                return ChainOutcome::Held(failure);
            }
        }
    }
    ChainOutcome::Send(Body::json(document.to_bytes()))
}

/// A pass whose failure is remembered; none where the plugin is in quarantine.
fn attended(link: &Link, document: Document, links: &Arc<Links>, context: Context<'_>) -> Result<Made, PluginFailure> {
    let Context { payload, guests, health } = context;
    let remembered = |failure: PluginFailure, usage| {
        health.remember(&failure, usage, payload, link.found.is_ok() && link.snapshot.is_none());
        failure
    };
    let (active, key) = link.found.as_ref().map_err(|failure| remembered(failure.clone(), Usage::default()))?;
    let turn = health.admit(&active.name, *key)?;
    let (made, usage) = pass(link, active, document, links, guests);
    match &made {
        // It is to be run again, and that decides.
        Ok(Made::Needs(..)) => drop(turn),
        Err(failure) if failure.kind.is_fault() => turn.faulted(active.key(None), &link.config, failure),
        _ => turn.passed(&active.name),
    }
    made.map_err(|failure| remembered(failure, usage))
}

fn pass(
    link: &Link,
    active: &Active,
    document: Document,
    links: &Arc<Links>,
    guests: &Guests,
) -> (Result<Made, PluginFailure>, Usage) {
    let called = match &link.snapshot {
        Some(snapshot) => Called { name: &active.name, component: snapshot, config: None },
        None => Called { name: &active.name, component: &active.component, config: Some(&link.config) },
    };
    let (made, usage) = guests.process(called, document, links, &active.terms.limits);
    write_down(&active.name, &usage);
    (made, usage)
}

/// Guests word failures: as a debug-formatted field, in which no line end is one.
/// That a quarantine began was said once.
fn warn(failure: &PluginFailure, message: &str) {
    if failure.kind == PluginFailureKind::Quarantined {
        tracing::debug!(failure = ?failure.to_string(), "{message}");
    } else {
        tracing::warn!(failure = ?failure.to_string(), "{message}");
    }
}

/// The door lets nothing in that cannot be read; what is read here may come from an older release.
fn unreadable(first: &Link, error: &str) -> PluginFailure {
    let plugin = first.found.as_ref().map_or_else(|failure| failure.plugin.clone(), |(active, _)| active.name.clone());
    let message = format!("the payload cannot be read: {error}");
    PluginFailure { plugin, export: "load".to_owned(), kind: PluginFailureKind::Refused, message }
}
