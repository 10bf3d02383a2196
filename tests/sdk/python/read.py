"""Reads back what trace.py traced, with an unmodified LangSmith SDK, and prints it as JSON.

Environment: LANGSMITH_ENDPOINT, LANGSMITH_API_KEY, LANGSMITH_PROJECT. Standard input: what trace.py printed.
Exits with 1 if the SDK warns of anything but its own read_run and list_runs, or logs an error.
"""

import asyncio
import json
import os
import sys
import uuid

from complaints import Complaints

complaints = Complaints()

import langsmith
from langsmith import Client
from langsmith.utils import LangSmithNotFoundError

PROJECT = os.environ["LANGSMITH_PROJECT"]
RUN_FIELDS = """id name run_type status error inputs outputs tags extra start_time end_time trace_id parent_run_id
parent_run_ids dotted_order session_id feedback_stats prompt_tokens completion_tokens total_tokens prompt_cost
completion_cost total_cost app_path""".split()
FEEDBACK_FIELDS = "id run_id key score value comment correction created_at modified_at feedback_source".split()
SELECTS = """ID NAME RUN_TYPE STATUS ERROR INPUTS OUTPUTS TAGS METADATA START_TIME END_TIME LATENCY_SECONDS TRACE_ID
PARENT_RUN_IDS DOTTED_ORDER PROJECT_ID THREAD_ID IS_ROOT FEEDBACK_STATS TOTAL_TOKENS TOTAL_COST ATTACHMENTS""".split()


def pick(fields, it):
    return {field: getattr(it, field) for field in fields}


def show(run):
    files = {name: [it["mime_type"], it["reader"].read().decode()] for name, it in run.attachments.items()}
    return {**pick(RUN_FIELDS, run), "attachments": files}


def read_project(client):
    """By name and by id, alone and in lists."""
    project = client.read_project(project_name=PROJECT, include_stats=True)
    assert client.read_project(project_id=str(project.id)).id == project.id
    assert [it.id for it in client.list_projects(name=PROJECT)] == [project.id]
    assert project.id in {it.id for it in client.list_projects(name_contains=PROJECT[:4], limit=200)}
    return project


def is_unknown(read):
    """Whether the SDK takes the answer for `not found`."""
    try:
        read()
    except LangSmithNotFoundError:
        return True
    return False


def list_runs(client, project, traced):
    """The ids that each way of asking for runs gives."""
    root = traced["runs"][0]
    thread = root["metadata"]["thread_id"]
    questions = {
        "all": {},
        "roots": {"is_root": True},
        "children": {"is_root": False, "trace_id": root["id"]},
        "by parent": {"parent_run_id": root["id"]},
        "by id": {"run_ids": [root["id"]]},
        "llm": {"run_type": "llm"},
        "errors": {"error": True},
        "since": {"start_time": client.read_run(root["id"]).start_time},
        "limit 2": {"limit": 2},
        "selected": {"select": ["id", "name", "run_type", "start_time", "trace_id"]},
        "filter llm": {"filter": 'eq(run_type, "llm")'},
        "filter thread": {"filter": f'eq(thread_id, "{thread}")'},
        "filter and": {"filter": 'and(eq(status, "error"), eq(run_type, "tool"))'},
        "filter tag": {"filter": 'has(tags, "staging")'},
        "trace filter": {"filter": 'eq(run_type, "tool")', "trace_filter": 'eq(name, "answer")'},
        "tree filter": {"filter": "eq(is_root, true)", "tree_filter": 'eq(name, "search")'},
    }
    answers = {name: [run.id for run in client.list_runs(project_name=PROJECT, **it)] for name, it in questions.items()}
    body = {"session": [str(project.id)], "limit": 2, "select": ["id"]}
    answers["pages of 2"] = list(follow_cursors(client, body))
    return answers


def follow_cursors(client, body):
    """list_runs itself asks for pages of 100 only."""
    cursor = {}
    while cursor is not None:
        page = client.request_with_retries("POST", "/runs/query", data=json.dumps({**body, **cursor})).json()
        assert len(page["runs"]) <= body["limit"], page
        yield [run["id"] for run in page["runs"]]
        following = page["cursors"].get("next")
        cursor = {"cursor": following} if following else None


async def query_runs(client, project, root):
    """The newer reads, which page by `next_cursor`."""
    places = {"project_ids": [str(project.id)], "selects": SELECTS}
    newest = await client.runs.query(**places, page_size=2)
    pages = [[run.id for run in page.items] async for page in newest.iter_pages()]
    filtered = [run.id async for run in client.runs.query(**places, filter='eq(run_type, "llm")')]
    roots = [run.id async for run in client.runs.query(**places, is_root=True, has_error=False)]
    bare = [run async for run in client.runs.query(project_ids=[str(project.id)], ids=[root["id"]])]
    assert [set(run.model_fields_set) for run in bare] == [{"id"}], bare  # without selects there is the id alone
    one = await client.runs.retrieve(root["id"], project_id=str(project.id), selects=SELECTS)
    return {"pages of 2": pages, "filter llm": filtered, "sound roots": roots, "run": one.model_dump(mode="json")}


def main():
    traced = json.load(sys.stdin)
    client = Client()
    project = read_project(client)
    ids = [run["id"] for run in traced["runs"]]
    read = {
        "sdk": langsmith.__version__,
        "project": pick(("id", "name", "tenant_id", "start_time", "run_count"), project),
        "runs": [show(client.read_run(id)) for id in ids],
        "lists": list_runs(client, project, traced),
        "feedback": [pick(FEEDBACK_FIELDS, it) for it in client.list_feedback(run_ids=ids)],
        "by key": [it.id for it in client.list_feedback(run_ids=ids, feedback_key=["thumbs"])],
        "unknown run": is_unknown(lambda: client.read_run(uuid.uuid4())),
        "unknown project": is_unknown(lambda: client.read_project(project_name=f"no-{uuid.uuid4()}")),
    }
    if hasattr(client, "runs"):
        read["v2"] = asyncio.run(query_runs(client, project, traced["runs"][0]))
    complaints.exit_on_any(but=("read_run() is deprecated", "list_runs() is deprecated"))
    print(json.dumps(read, default=lambda it: it.isoformat() if hasattr(it, "isoformat") else str(it)))


main()
