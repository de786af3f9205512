"""Calls of a model API: from the address that Domino gives it to the pod that answers."""

import base64
import http.client
from contextlib import closing
from typing import Final

from testbed.domino.exchange import Answer, RefusedError, Request, Route
from testbed.domino.platform import Platform
from testbed.domino.records import RUNNING, ModelApi

JSON: Final = {"Content-Type": "application/json"}


def call(platform: Platform, request: Request) -> Answer:
    model = platform.live(request.variables["id"])
    check_token(model, request)
    pod = platform.pods.running().get(model.active.id)
    if pod is None or model.active.status != RUNNING:
        raise RefusedError(503, "the model API has no running version")
    with closing(http.client.HTTPConnection("127.0.0.1", pod.port, timeout=60)) as connection:
        connection.request("POST", "/model", request.body, JSON)
        answer = connection.getresponse()
        return Answer(status=answer.status, body=answer.read())


def check_token(model: ModelApi, request: Request) -> None:
    """A restricted model API wants its access token as user and as password."""
    shown = base64.b64encode(f"{model.access_token}:{model.access_token}".encode()).decode()
    if model.access_token and request.headers.get("authorization") != f"Basic {shown}":
        raise RefusedError(401, "Unauthorized")


ROUTES: Final = (
    Route("POST", "/models/<id>/latest/model", call),
    Route("POST", "/models/<id>/labels/prod/model", call),
)
