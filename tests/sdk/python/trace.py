"""Traces with an unmodified LangSmith SDK, 0.1.147 or later, and prints as JSON what it traced.

Environment: LANGSMITH_ENDPOINT, LANGSMITH_API_KEY, LANGSMITH_PROJECT, and LANGSMITH_TRACING=true.
With `--single` every run goes out alone, as POST and PATCH, and without the attachment, which cannot.
Exits with 1 if the SDK warns of anything or logs an error.
"""

import inspect
import json
import os
import sys
import uuid

from complaints import Complaints

complaints = Complaints()  # before the SDK, which may complain while it is imported

import langsmith
from langsmith import Client, trace

PROJECT = os.environ["LANGSMITH_PROJECT"]
USAGE = {"input_tokens": 12, "output_tokens": 5, "total_tokens": 17}
COSTLY_USAGE = {**USAGE, "input_cost": 0.0012, "output_cost": 0.001, "total_cost": 0.0022}


def trace_answer(client, attachments):
    """A chain over two llm runs and a tool that fails."""
    thread = {"thread_id": f"thread-{uuid.uuid4()}", "customer": "acme"}
    inputs = {"question": "Where is Zürich? 🗺"}
    with trace("answer", inputs=inputs, client=client, tags=["prod", "sdk"], metadata=thread, **attachments) as chain:
        model = {"ls_provider": "openai", "ls_model_name": "gpt-4o"}
        prompt = {"messages": [{"role": "user", "content": "Where is Zürich?"}]}
        with trace("generate", "llm", inputs=prompt, client=client, metadata={**thread, **model}) as llm:
            llm.end(outputs={"role": "assistant", "content": "In Switzerland.", "usage_metadata": USAGE})
        with trace("judge", "llm", client=client, metadata={**thread, "usage_metadata": COSTLY_USAGE}) as judge:
            judge.end(outputs={"grade": None, "scores": [1, 0.5, True]})
        try:
            with trace("search", "tool", inputs={"q": "Zürich"}, client=client, metadata=thread) as tool:
                raise ValueError("no such index")
        except ValueError:
            pass
        chain.end(outputs={"answer": "In Switzerland."})
    return chain, llm, judge, tool


def trace_failure(client):
    """A trace that is one failed run."""
    try:
        with trace("broken", inputs={"question": ""}, client=client, tags=["staging"]) as run:
            raise RuntimeError("empty question")
    except RuntimeError:
        return run


def give_feedback(client, chain, llm):
    """A correction that may travel with the runs, and a label that is posted."""
    given = [
        {"run_id": chain.id, "trace_id": chain.id, "key": "correctness", "score": 0.25, "comment": "too vague",
         "correction": {"answer": "In the north of Switzerland."}},
        {"run_id": llm.id, "key": "thumbs", "value": "up"},
    ]
    place = {}
    if "session_id" in inspect.signature(client.create_feedback).parameters:
        place["session_id"] = client.read_project(project_name=PROJECT).id
    for feedback in given:
        feedback["id"] = client.create_feedback(**feedback, **place).id
    return given


def flush(client):
    """Waits until everything is sent."""
    if hasattr(client, "flush"):
        client.flush()
    elif client.tracing_queue is not None:
        client.tracing_queue.join()


def show(run):
    """What the server should know of a run."""
    return {
        **{key: getattr(run, key) for key in ("id", "name", "run_type", "trace_id", "parent_run_id", "dotted_order")},
        **{key: getattr(run, key) for key in ("start_time", "end_time", "inputs", "outputs", "error")},
        "status": "error" if run.error else "success",
        "tags": run.tags or [],
        "metadata": run.extra["metadata"],
        "attachments": {name: [kind, data.decode()] for name, (kind, data) in (run.attachments or {}).items()},
    }


def main():
    is_single = "--single" in sys.argv
    client = Client(auto_batch_tracing=False) if is_single else Client()
    note = {"note": ("text/plain", b"seen on a map")}
    runs = [*trace_answer(client, {} if is_single else {"attachments": note}), trace_failure(client)]
    flush(client)
    feedback = give_feedback(client, *runs[:2])
    flush(client)
    complaints.exit_on_any()
    shown = [show(run) for run in runs]
    traced = {"sdk": langsmith.__version__, "project": PROJECT, "runs": shown, "feedback": feedback}
    print(json.dumps(traced, default=lambda it: it.isoformat() if hasattr(it, "isoformat") else str(it)))


main()
