"""A receiver for runhook that makes examples of the corrections given to runs, deployable to Modal.

It asks runhook for the feedback of the runs it receives, with the LangSmith SDK: `pip install fastapi uvicorn langsmith`.

Locally:   LS_WEBHOOK=change-me LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… uvicorn corrections:app --port 9000
On Modal:  modal secret create ls-webhook LS_WEBHOOK=change-me LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=…
           modal deploy corrections.py
"""

import hmac
import os
from functools import cache

from fastapi import FastAPI, HTTPException
from langsmith import Client
from langsmith.utils import LangSmithConflictError

DATASET = os.environ.get("CORRECTIONS_DATASET", "corrections")

app = FastAPI()
client = cache(Client)  # made by the first request: `modal deploy` imports this file where there is no key


@app.post("/")
def receive(payload: dict, secret: str = ""):
    if not hmac.compare_digest(secret.encode(), os.environ["LS_WEBHOOK"].encode()):
        raise HTTPException(401, "wrong secret", headers={"WWW-Authenticate": "Bearer"})
    runs = {run["id"]: run for run in payload.get("runs", [])}
    if not runs:  # without ids, list_feedback gives the feedback of every run
        return {"examples": 0}
    corrected = [it for it in client().list_feedback(run_ids=list(runs)) if it.correction is not None]
    if corrected and not client().has_dataset(dataset_name=DATASET):
        client().create_dataset(DATASET)
    return {"examples": sum(add_example(runs[str(it.run_id)], it) for it in corrected)}


def add_example(run, feedback) -> bool:
    """False if the example is there: the same delivery may come again."""
    try:
        client().create_example(
            inputs=run["inputs"],
            reference_outputs={"output": feedback.correction},
            dataset_name=DATASET,
            example_id=feedback.id,
            source_run_id=run["id"],
        )
    except LangSmithConflictError:
        return False
    return True


try:
    import modal
except ImportError:  # runs without Modal too
    pass
else:
    image = modal.Image.debian_slim().pip_install("fastapi", "langsmith")
    modal_app = modal.App("runhook-corrections", image=image)

    @modal_app.function(secrets=[modal.Secret.from_name("ls-webhook")])
    @modal.asgi_app()
    def receiver():
        return app
