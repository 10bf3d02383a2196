//! What applying definitions would do to the stored rules.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::definition::resolve::default_id;
use crate::definition::show::relay_path;
use crate::definition::{Problem, Problems, RuleDefinition, changes, is_same, resolve};
use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::{RuleId, WebhookId};
use crate::model::project::Project;
use crate::model::rule::Rule;

/// One rule before and after.
#[derive(Clone, Debug)]
pub enum Planned {
    /// Not stored yet.
    Create {
        /// As it will be.
        after: Rule,
        /// Whether the definition gave the id; else it was made for this plan.
        has_given_id: bool,
        /// Where it stands in the definition.
        at: String,
    },
    /// Stored, and defined: the same or not.
    Update {
        /// As it is stored.
        before: Arc<Rule>,
        /// As it will be.
        after: Rule,
        /// Where it stands in the definition.
        at: String,
    },
    /// Stored, and not defined.
    Delete {
        /// As it is stored.
        before: Arc<Rule>,
    },
}

impl Planned {
    /// Whether anything has to be written.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Update { before, after, .. } => !is_same(before, after),
            Self::Create { .. } | Self::Delete { .. } => true,
        }
    }

    /// The rule as it will be and where it stands; none for one that goes.
    pub fn after(&self) -> Option<(&Rule, &str)> {
        match self {
            Self::Create { after, at, .. } | Self::Update { after, at, .. } => Some((after, at)),
            Self::Delete { .. } => None,
        }
    }

    /// The project in which the rule will look for runs; it may be made yet.
    pub fn project_mut(&mut self) -> Option<&mut Project> {
        match self {
            Self::Create { after, .. } | Self::Update { after, .. } => Some(&mut after.source.as_mut()?.project),
            Self::Delete { .. } => None,
        }
    }

    /// The rule as it is stored; none for a new one.
    pub fn before(&self) -> Option<&Rule> {
        match self {
            Self::Update { before, .. } | Self::Delete { before } => Some(before),
            Self::Create { .. } => None,
        }
    }

    /// The rule's id.
    pub fn id(&self) -> RuleId {
        match self {
            Self::Create { after, .. } | Self::Update { after, .. } => after.id,
            Self::Delete { before } => before.id,
        }
    }

    /// The change without a secret: `{id, display_name, action, details, relay_path}`. A dry run tells no id that was made
    /// for it, since no rule will ever have it.
    pub fn show(&self, is_dry_run: bool) -> Value {
        let is_passing = is_dry_run && matches!(self, Self::Create { has_given_id: false, .. });
        let (rule, action, details) = match self {
            Self::Create { after, .. } if is_passing => {
                (after, "create", changes(&empty(after), &without_made_ids(after)))
            }
            Self::Create { after, .. } => (after, "create", changes(&empty(after), after)),
            Self::Update { before, after, .. } if self.is_change() => (after, "update", changes(before, after)),
            Self::Update { after, .. } => (after, "unchanged", Vec::new()),
            Self::Delete { before } => (&**before, "delete", Vec::new()),
        };
        let lasting = self.after().filter(|_| !is_passing);
        json!({
            "id": Some(rule.id).filter(|_| !is_passing),
            "display_name": rule.display_name,
            "action": action,
            "details": details,
            "relay_path": lasting.and_then(|(rule, _)| relay_path(rule)),
        })
    }
}

/// What a new rule's details are told against.
fn empty(rule: &Rule) -> Rule {
    Rule { source: None, relay_secret: None, webhooks: Vec::new(), ..rule.clone() }
}

/// A webhook's default id depends on the rule's.
fn without_made_ids(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    let id = rule.id;
    for webhook in rule.webhooks.iter_mut().filter(|webhook| webhook.id == default_id(id, &webhook.endpoint.url)) {
        webhook.id = WebhookId("(new)".to_owned());
    }
    rule
}

/// Pairs definitions with stored rules: by id, else by display name. With `prune`, rules that are not defined go.
///
/// # Errors
/// Names that other rules have, and what [`resolve`] finds.
pub fn plan(
    definitions: Vec<RuleDefinition>,
    stored: &[Arc<Rule>],
    projects: &[Project],
    prune: bool,
    now: Timestamp,
) -> Result<Vec<Planned>, Problems> {
    let mut problems = Problems::new();
    let mut planned: Vec<Planned> = Vec::new();
    for (index, definition) in definitions.into_iter().enumerate() {
        let at = format!("rules[{index}]");
        let before = counterpart(&definition, stored);
        let has_given_id = definition.id.is_some();
        let id = definition.id.unwrap_or_else(RuleId::generate);
        match resolve(definition, before.map(Arc::as_ref), id, projects, &at, now) {
            Ok(after) => planned.push(match before.cloned() {
                Some(before) => Planned::Update { before, after, at },
                None => Planned::Create { after, has_given_id, at },
            }),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if prune {
        let kept: HashSet<_> = planned.iter().map(Planned::id).collect();
        let gone = stored.iter().filter(|rule| !kept.contains(&rule.id));
        planned.extend(gone.map(|rule| Planned::Delete { before: rule.clone() }));
    }
    check_whole(&planned, stored, &mut problems);
    if problems.is_empty() { Ok(planned) } else { Err(problems) }
}

fn counterpart<'a>(definition: &RuleDefinition, stored: &'a [Arc<Rule>]) -> Option<&'a Arc<Rule>> {
    match definition.id {
        Some(id) => stored.iter().find(|rule| rule.id == id),
        None => stored.iter().find(|rule| rule.display_name == definition.display_name),
    }
}

/// All rules as they will be: names stay unique, and there are not too many.
fn check_whole(planned: &[Planned], stored: &[Arc<Rule>], problems: &mut Problems) {
    let touched: HashSet<_> = planned.iter().filter_map(|planned| Some(planned.before()?.id)).collect();
    let untouched: Vec<_> = stored.iter().filter(|rule| !touched.contains(&rule.id)).collect();
    let mut ids: HashSet<RuleId> = HashSet::new();
    for (after, at) in planned.iter().filter_map(Planned::after) {
        if !ids.insert(after.id) {
            let problem = format!("means the same rule as another one here, {}", after.id);
            problems.push(Problem { at: at.to_owned(), problem });
        }
        if let Some(other) = untouched.iter().find(|rule| rule.display_name == after.display_name) {
            let problem = format!("`{}` is the name of the rule {}", after.display_name, other.id);
            problems.push(Problem { at: format!("{at}.display_name"), problem });
        }
    }
    if untouched.len() + ids.len() > limits::RULES_MAX {
        let problem = format!("would be {}; at most {} are kept", untouched.len() + ids.len(), limits::RULES_MAX);
        problems.push(Problem { at: "rules".to_owned(), problem });
    }
}
