//! `/api/v1/runs/rules`: LangSmith's shape with our additions, and `apply`, which takes a whole file.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, RawQuery, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::query::{self, Parameters};
use crate::api::{Api, Doors, rule_shape};
use crate::definition::{self, Planned, Problem, Problems, RuleDefinition};
use crate::limits;
use crate::model::ids::{ProjectId, RuleId};
use crate::model::plugin::PluginUse;
use crate::model::project::Project;
use crate::model::rule::Rule;
use crate::store::RuleChanges;

type Answer = Result<Json<Value>, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyOptions {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    prune: bool,
}

/// `GET /api/v1/runs/rules?id=…&session_id=…&name_contains=…&type=session|dataset`, by name.
pub(super) async fn list(State(api): Doors, RawQuery(query): RawQuery) -> Answer {
    let wanted = Wanted::of(&Parameters::parse(query.as_deref()), "session_id")?;
    let rules = api.rulebook.snapshot();
    Ok(Json(rules.rules().iter().filter(|rule| wanted.wants(rule)).map(|rule| show_one(&api, rule)).collect()))
}

/// `GET /api/v2/runs/rules?id=…&project_id=…&name_contains=…&page_size=…&cursor=…`, what changed last first.
pub(super) async fn list_v2(State(api): Doors, RawQuery(query): RawQuery) -> Answer {
    let parameters = Parameters::parse(query.as_deref());
    let wanted = Wanted::of(&parameters, "project_id")?;
    let page_size = parameters.number("page_size")?.unwrap_or(100).clamp(1, limits::API_PAGE_MAX);
    let after = parameters.number("cursor")?.unwrap_or(0);
    let snapshot = api.rulebook.snapshot();
    let mut rules: Vec<_> = snapshot.rules().iter().filter(|rule| wanted.wants(rule)).collect();
    rules.sort_by_key(|rule| (std::cmp::Reverse(rule.updated_at), rule.id));
    let items: Vec<_> =
        rules.iter().skip(after).take(page_size).map(|rule| rule_shape::second(rule, api.workspace)).collect();
    let next = after + items.len();
    let next_cursor = (next < rules.len()).then(|| next.to_string());
    Ok(Json(json!({"items": items, "next_cursor": next_cursor})))
}

/// Which rules to list.
struct Wanted {
    ids: Vec<RuleId>,
    project: Option<ProjectId>,
    name_part: Option<String>,
    is_of_dataset: bool,
}

impl Wanted {
    fn of(parameters: &Parameters, project_key: &str) -> Result<Self, ApiError> {
        let has = |name: &str| parameters.first(name).is_some();
        Ok(Self {
            ids: parameters.ids("id")?,
            project: parameters.id(project_key)?,
            name_part: parameters.first("name_contains").map(str::to_lowercase),
            // No rule here is about a dataset, an evaluator or a tag.
            is_of_dataset: has("dataset_id")
                || has("evaluator_id")
                || has("tag_value_id")
                || parameters.first("type").is_some_and(|kind| kind.eq_ignore_ascii_case("dataset")),
        })
    }

    fn wants(&self, rule: &Rule) -> bool {
        let project = rule.source.as_ref().map(|source| source.project.id);
        !self.is_of_dataset
            && (self.ids.is_empty() || self.ids.contains(&rule.id))
            && self.project.is_none_or(|wanted| project == Some(wanted))
            && self.name_part.as_ref().is_none_or(|part| rule.display_name.to_lowercase().contains(part))
    }
}

fn show_one(api: &Api, rule: &Rule) -> Value {
    rule_shape::first(rule, api.workspace)
}

/// `POST /api/v1/runs/rules/validate`: whether a rule could be stored, without storing it.
pub(super) async fn validate(State(api): Doors, body: Body) -> Answer {
    let value = query::json(body).await?;
    let checked = async {
        let definition = definition::read_rule(&value)?;
        let change = api.rulebook.begin_change().await;
        let projects = api.store.projects().await?;
        plan_one(&api, definition, change.before().rules(), &projects).await
    };
    match checked.await {
        Ok(_) => Ok(Json(json!({"valid": true, "errors": []}))),
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            Ok(Json(json!({"valid": false, "errors": error.problems()})))
        }
        Err(error) => Err(error),
    }
}

/// `POST /api/v1/runs/rules/{id}/trigger`: ends the rule's window now.
pub(super) async fn trigger(State(api): Doors, Path(id): Path<String>) -> Answer {
    let rule = find(&api, &id)?;
    trigger_one(&api, &rule)?;
    Ok(Json(json!({"rule_ids": [rule.id]})))
}

/// `POST /api/v1/runs/rules/trigger` with `{"rule_ids": […]}`.
pub(super) async fn trigger_many(State(api): Doors, body: Body) -> Answer {
    let body = query::json(body).await?;
    let ids = body["rule_ids"].as_array().ok_or_else(|| ApiError::unprocessable("rule_ids", "needs an array"))?;
    let rules: Vec<_> = ids.iter().map(|id| find(&api, id.as_str().unwrap_or_default())).collect::<Result<_, _>>()?;
    rules.iter().try_for_each(|rule| trigger_one(&api, rule))?;
    Ok(Json(json!({"rule_ids": rules.iter().map(|rule| rule.id).collect::<Vec<_>>()})))
}

fn trigger_one(api: &Api, rule: &Rule) -> Result<(), ApiError> {
    if api.matching.trigger(rule.id) {
        return Ok(());
    }
    let detail = format!("the rule {} does not look for runs; it only takes what is relayed to it", rule.id);
    Err(ApiError::new(StatusCode::CONFLICT, detail))
}

pub(super) async fn show(State(api): Doors, Path(id): Path<String>) -> Answer {
    Ok(Json(show_one(&api, &*find(&api, &id)?)))
}

pub(super) async fn create(State(api): Doors, body: Body) -> Answer {
    let definition = definition::read_rule(&query::json(body).await?)?;
    let change = api.rulebook.begin_change().await;
    let before = change.before();
    let is_taken = |rule: &Arc<Rule>| Some(rule.id) == definition.id || rule.display_name == definition.display_name;
    if let Some(rule) = before.rules().iter().find(|rule| is_taken(rule)) {
        let detail = format!("the rule {} has that id or name already; change it with PATCH", rule.id);
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    let projects = api.store.projects().await?;
    let mut planned = plan_one(&api, definition, before.rules(), &projects).await?;
    let id = planned.id();
    make_project(&api, &mut planned, &projects).await?;
    change.commit(written([planned])).await?;
    Ok(Json(show_one(&api, &*find(&api, &id.to_string())?)))
}

pub(super) async fn patch(State(api): Doors, Path(id): Path<String>, body: Body) -> Answer {
    let given = query::json(body).await?;
    let change = api.rulebook.begin_change().await;
    let before = change.before();
    let definition = definition::patched(&*find(&api, &id)?, &given)?;
    let projects = api.store.projects().await?;
    let mut planned = plan_one(&api, definition, before.rules(), &projects).await?;
    let id = planned.id();
    if planned.is_change() {
        make_project(&api, &mut planned, &projects).await?;
        change.commit(written([planned])).await?;
    }
    Ok(Json(show_one(&api, &*find(&api, &id.to_string())?)))
}

pub(super) async fn delete(State(api): Doors, Path(id): Path<String>) -> Answer {
    let change = api.rulebook.begin_change().await;
    let rule = find(&api, &id)?;
    let cancelled = change.commit(RuleChanges { put: Vec::new(), delete: vec![rule.id] }).await?;
    Ok(Json(json!({"id": rule.id, "display_name": rule.display_name, "cancelled_deliveries": cancelled.deliveries})))
}

/// Compares on the server, so that no secret travels back.
pub(super) async fn apply(
    State(api): Doors,
    options: Result<Query<ApplyOptions>, QueryRejection>,
    body: Body,
) -> Answer {
    let Query(options) =
        options.map_err(|_| ApiError::bad_request("the query takes dry_run and prune, true or false"))?;
    let definitions = definition::read_document(&query::json(body).await?)?;
    let change = api.rulebook.begin_change().await;
    let projects = api.store.projects().await?;
    let planned = definition::plan(definitions, change.before().rules(), &projects, options.prune, api.clock.now())?;
    check_plugins(&api, &planned).await?;
    let shown: Vec<_> = planned.iter().map(|planned| planned.show(options.dry_run)).collect();
    let mut changed: Vec<_> = planned.into_iter().filter(Planned::is_change).collect();
    let mut cancelled = 0;
    if !options.dry_run && !changed.is_empty() {
        for planned in &mut changed {
            make_project(&api, planned, &projects).await?;
        }
        cancelled = change.commit(written(changed)).await?.deliveries;
    }
    Ok(Json(json!({"rules": shown, "cancelled_deliveries": cancelled, "is_dry_run": options.dry_run})))
}

/// By id, or by display name, which is as unique.
pub(super) fn find(api: &Api, id: &str) -> Result<Arc<Rule>, ApiError> {
    let snapshot = api.rulebook.snapshot();
    let by_id = id.parse::<RuleId>().ok().and_then(|id| snapshot.rule(id).cloned());
    let found = by_id.or_else(|| snapshot.rules().iter().find(|rule| rule.display_name == id).cloned());
    found.ok_or_else(|| ApiError::not_found(format!("there is no rule {id}")))
}

/// Makes the project that a rule names, once nothing is wrong with the rule. Whoever makes it first gives the id.
async fn make_project(api: &Api, planned: &mut Planned, projects: &[Project]) -> Result<(), ApiError> {
    let is_there = |project: &Project| projects.iter().any(|other| other.id == project.id);
    if let Some(project) = planned.project_mut().filter(|project| !is_there(project)) {
        *project = api.store.add_project(project.clone()).await?;
    }
    Ok(())
}

async fn plan_one(
    api: &Api,
    definition: RuleDefinition,
    stored: &[Arc<Rule>],
    projects: &[Project],
) -> Result<Planned, ApiError> {
    let unplaced = |problem: Problem| {
        let at = problem.at.trim_start_matches("rules[0]").trim_start_matches('.').to_owned();
        Problem { at, ..problem }
    };
    let single = |problems: Problems| problems.into_iter().map(unplaced).collect::<Problems>();
    let planned = definition::plan(vec![definition], stored, projects, false, api.clock.now()).map_err(single)?;
    check_plugins(api, &planned).await.map_err(single)?;
    planned.into_iter().next().ok_or_else(|| ApiError::bad_request("there is no rule in the body"))
}

/// Every plugin of a chain that is new has to be there and to take its configuration, and nothing may follow a render
/// stage. Uses that are stored are not asked again: a plugin that has gone must not stand in the way of another change,
/// least of all of switching its rule off.
async fn check_plugins(api: &Api, planned: &[Planned]) -> Result<(), Problems> {
    let mut problems = Problems::new();
    for planned in planned {
        let Some((rule, at)) = planned.after() else { continue };
        for (index, webhook) in rule.webhooks.iter().enumerate() {
            let before = planned.before().and_then(|rule| rule.webhook(&webhook.id));
            let stored = before.map_or(&[][..], |webhook| &webhook.plugins);
            if stored != webhook.plugins {
                let at = format!("{at}.webhooks[{index}]");
                check_chain(api, &webhook.plugins, stored, &at, &mut problems).await;
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

async fn check_chain(api: &Api, chain: &[PluginUse], stored: &[PluginUse], at: &str, problems: &mut Problems) {
    let mut renders: Option<&PluginUse> = None;
    for (index, plugin) in chain.iter().enumerate() {
        let mut wrong = |problem| problems.push(Problem { at: format!("{at}.plugins[{index}]"), problem });
        if let Some(last) = renders {
            wrong(format!(
                "{}: never runs, since `{}` before it renders the body; put that last",
                plugin.name, last.name
            ));
        }
        match api.plugins.check(plugin).await {
            Ok(stages) if stages.render => renders = Some(plugin),
            Ok(_) => {}
            Err(_) if stored.contains(plugin) => {}
            Err(failure) => wrong(format!("{}: {}", plugin.name, failure.message)),
        }
    }
}

fn written(planned: impl IntoIterator<Item = Planned>) -> RuleChanges {
    let mut changes = RuleChanges::default();
    for planned in planned {
        match planned {
            Planned::Create { after, .. } | Planned::Update { after, .. } => changes.put.push(after),
            Planned::Delete { before } => changes.delete.push(before.id),
        }
    }
    changes
}
