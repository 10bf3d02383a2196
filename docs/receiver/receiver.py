"""A receiver for runhook: a FastAPI app that checks the secret, deployable to Modal.

Locally:   LS_WEBHOOK=change-me uvicorn receiver:app --port 9000
On Modal:  modal secret create ls-webhook LS_WEBHOOK=change-me && modal deploy receiver.py
"""

import hmac
import os
from collections import OrderedDict

from fastapi import FastAPI, HTTPException, Request

app = FastAPI()
seen: OrderedDict[str, None] = OrderedDict()  # deliveries of late; use your database when there are several processes


@app.post("/")
async def receive(request: Request, secret: str = ""):
    if not hmac.compare_digest(secret.encode(), os.environ["LS_WEBHOOK"].encode()):
        raise HTTPException(401, "wrong secret", headers={"WWW-Authenticate": "Bearer"})
    delivery = request.headers["webhook-id"]
    if delivery in seen:  # at least once: the same delivery may come again
        return {"repeat": True}
    payload = await request.json()
    for run in payload.get("runs", []):
        print(delivery, run["id"], run.get("name"), run.get("status"), run.get("error"), flush=True)
    seen[delivery] = None
    if len(seen) > 10_000:
        seen.popitem(last=False)
    return {"runs": len(payload.get("runs", []))}


try:
    import modal
except ImportError:  # runs without Modal too
    pass
else:
    image = modal.Image.debian_slim().pip_install("fastapi")
    modal_app = modal.App("runhook-receiver", image=image)

    @modal_app.function(secrets=[modal.Secret.from_name("ls-webhook")])
    @modal.asgi_app()
    def receiver():
        return app
