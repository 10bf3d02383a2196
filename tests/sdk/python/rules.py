"""Creates, lists, changes and deletes a rule as LangSmith has it, and prints the answers as JSON.

The LangSmith SDK, 0.15 or later, can only list rules, in its generated client; the rest goes over HTTP. Its models say
whether the answers have LangSmith's shape.
Environment: LANGSMITH_ENDPOINT, LANGSMITH_API_KEY, LANGSMITH_PROJECT. Argument: the webhook's URL.
"""

import json
import os
import sys
import uuid
import warnings

import requests
from langsmith import Client
from langsmith._client import Langsmith
from langsmith.types.evaluator import Evaluator  # a rule of version 1
from langsmith.types.rule import Rule

PROJECT = os.environ["LANGSMITH_PROJECT"]
ENDPOINT = os.environ["LANGSMITH_ENDPOINT"].removesuffix("/api/v1").rstrip("/")
RULES = f"{ENDPOINT}/api/v1/runs/rules"
warnings.simplefilter("ignore", DeprecationWarning)  # listing by version 1 is deprecated

http = requests.Session()
http.headers["x-api-key"] = os.environ["LANGSMITH_API_KEY"]


def call(method, url, status=200, **options):
    answer = http.request(method, url, timeout=10, **options)
    assert answer.status_code == status, f"{method} {url}: {answer.status_code}, not {status}: {answer.text}"
    return answer.json() if answer.content else None


def rule_of(answer):
    """The answer, which has to be a rule of version 1."""
    updated_at(answer)
    return answer


def updated_at(answer):
    return Evaluator.model_validate(answer).updated_at


def is_refused(method, url, body):
    answer = http.request(method, url, json=body, timeout=10)
    assert 400 <= answer.status_code < 500, f"{body}: {answer.status_code} {answer.text}"
    return answer.status_code


def list_rules(rule, project_id):
    """The ids by each way of listing."""
    sdk = Langsmith(base_url=ENDPOINT)
    ways = {"session_id": project_id, "name_contains": rule["display_name"][4:], "id": [rule["id"]]}
    newer = {**ways, "project_id": project_id, "type": "PROJECT"}
    del newer["session_id"]
    listed = {f"v1 {way}": [it.id for it in sdk.evaluators.list(**{way: value})] for way, value in ways.items()}
    listed |= {f"v2 {way}": [it.id for it in sdk.evaluators.list_v2(**{way: value})] for way, value in newer.items()}
    listed["v1 elsewhere"] = [it.id for it in sdk.evaluators.list(session_id=str(uuid.uuid4()))]
    listed["v2 elsewhere"] = [it.id for it in sdk.evaluators.list_v2(project_id=str(uuid.uuid4()))]
    pages = sdk.evaluators.list_v2(project_id=project_id, page_size=1).iter_pages()
    listed["v2 pages"] = [[Rule.model_validate(it.model_dump()).id for it in page.items] for page in pages]
    return listed


def main():
    project_id = str(Client().create_project(PROJECT, upsert=True).id)
    definition = {
        "display_name": f"sdk {uuid.uuid4()}",
        "sampling_rate": 1.0,
        "session_id": project_id,
        "filter": "eq(is_root, true)",
        "trace_filter": 'has(tags, "prod")',
        "tree_filter": 'eq(run_type, "llm")',
        "webhooks": [{"url": sys.argv[1], "headers": {"x-from": "sdk"}}],
    }
    rule = rule_of(call("POST", RULES, json=definition))
    plain = {key: value for key, value in definition.items() if key != "webhooks"}  # whose URL may come back masked
    assert plain.items() <= rule.items(), rule
    assert (rule["is_enabled"], rule["session_name"], len(rule["webhooks"])) == (True, PROJECT, 1), rule
    second = rule_of(call("POST", RULES, json={**definition, "display_name": f"sdk {uuid.uuid4()}"}))
    listed = list_rules(rule, project_id)
    for way in ("v1 id", "v2 id", "v1 name_contains", "v2 name_contains"):
        assert listed[way] == [rule["id"]], listed
    for way in ("v1 session_id", "v2 project_id", "v2 type"):
        assert {rule["id"], second["id"]} <= set(listed[way]), listed
    assert listed["v1 elsewhere"] == listed["v2 elsewhere"] == [], listed
    assert listed["v2 pages"] == [[second["id"]], [rule["id"]]], listed  # what changed last comes first

    change = {"display_name": f"{rule['display_name']} off", "sampling_rate": 0.5, "is_enabled": False}
    patched = rule_of(call("PATCH", f"{RULES}/{rule['id']}", json=change))
    kept = {key: value for key, value in rule.items() if key not in (*change, "updated_at")}
    assert change.items() <= patched.items() and kept.items() <= patched.items(), patched
    assert updated_at(patched) > updated_at(rule), patched

    refusals = {
        "no sampling rate": is_refused("POST", RULES, {"display_name": "sdk"}),
        "sampling rate above 1": is_refused("POST", RULES, {**definition, "display_name": "sdk", "sampling_rate": 2}),
        "broken filter": is_refused("POST", RULES, {**definition, "display_name": "sdk", "filter": "eq(name"}),
    }
    check = f"{ENDPOINT}/api/v1/runs/query/validate"
    checks = [call("POST", check, json={"filter": text}) for text in (definition["filter"], "eq(name")]
    assert [it["valid"] for it in checks] == [True, False] and checks[1]["errors"], checks

    for it in (rule, second):
        call("DELETE", f"{RULES}/{it['id']}")
    call("DELETE", f"{RULES}/{rule['id']}", status=404)
    assert call("GET", RULES, params={"session_id": project_id}) == []
    print(json.dumps({
        "project_id": project_id, "created": [rule, second], "listed": listed, "patched": patched,
        "refusals": refusals, "checks": checks,
    }))


main()
