//! Which scope of an API key each route needs.

use http::Method;

use crate::model::api_key::Scope;

/// They ask with a body.
const QUESTIONS: [&str; 3] = ["/runs/query", "/runs/query/validate", "/api/v2/runs/query"];

/// Below these a change is an operator's. A rule is validated as it is applied, with its plugins at work.
const OPERATED: [&str; 3] = ["/runs/rules", "/deliveries", "/endpoints"];

/// Where clients bring data in.
const INGESTED: [&str; 8] =
    ["/runs", "/feedback", "/sessions", "/datasets", "/examples", "/otel", "/platform", "/v1/platform"];

/// The scope for a method of a route, as the router has it. What nobody thought of is for admins.
pub(super) fn needed(method: &Method, route: &str) -> Scope {
    let route = route.strip_prefix("/api/v1").unwrap_or(route);
    let is_below = |places: &[&str]| {
        places
            .iter()
            .any(|place| route.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    if is_below(&["/keys"]) {
        Scope::Admin
    } else if matches!(*method, Method::GET | Method::HEAD) || QUESTIONS.contains(&route) {
        Scope::Read
    } else if is_below(&OPERATED) || (*method == Method::DELETE && is_below(&INGESTED)) {
        Scope::Operate
    } else if is_below(&INGESTED) {
        Scope::Ingest
    } else {
        Scope::Admin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_needs_what_it_does() {
        let cases = [
            (Scope::Ingest, "POST /runs/multipart, POST /api/v1/runs, PATCH /api/v1/runs/{id}, POST /otel/v1/traces"),
            (
                Scope::Ingest,
                "POST /feedback, PATCH /feedback/{id}, POST /sessions, POST /datasets, PATCH /examples/{id}",
            ),
            (Scope::Ingest, "POST /v1/platform/datasets/{id}/examples, PATCH /api/v1/platform/datasets/{id}/examples"),
            (Scope::Read, "GET /runs/{id}, HEAD /runs/{id}, POST /runs/query, POST /api/v1/runs/query/validate"),
            (Scope::Read, "POST /api/v2/runs/query, GET /api/v2/runs/rules, GET /api/v1/runs/rules/{id}/logs"),
            (Scope::Read, "GET /api/v1/deliveries, GET /api/v1/ledger, GET /api/v1/plugins/{name}/failures"),
            (Scope::Operate, "POST /api/v1/runs/rules, PATCH /api/v1/runs/rules/{id}, DELETE /api/v1/runs/rules/{id}"),
            (Scope::Operate, "POST /api/v1/runs/rules/apply, POST /api/v1/runs/rules/{id}/trigger"),
            (
                Scope::Operate,
                "POST /api/v1/endpoints/{rule}/{webhook}/probe, POST /api/v1/endpoints/{rule}/{webhook}/disable",
            ),
            (Scope::Read, "GET /api/v1/endpoints, GET /api/v1/endpoints/{rule}/{webhook}"),
            (
                Scope::Operate,
                "POST /api/v1/deliveries/{id}/replay, DELETE /feedback/{id}, DELETE /api/v1/datasets/{id}",
            ),
            (Scope::Admin, "POST /api/v1/keys, GET /api/v1/keys, DELETE /api/v1/keys/{id}, POST /api/v1/keys/rotate"),
            (Scope::Admin, "POST /api/v1/plugins, DELETE /api/v1/ledger, POST /nowhere, PUT /runsome"),
        ];
        for (scope, routes) in cases {
            for route in routes.split(", ") {
                let (method, path) = route.split_once(' ').unwrap();
                assert_eq!(needed(&method.parse().unwrap(), path), scope, "{route}");
            }
        }
    }
}
