"""What the demo checks at its end."""

import json
from typing import Any

from demo.stage import Answers, Stage
from testbed.api_server import patch_of
from testbed.webhook_server import WebhookServer


def all_checks(stage: Stage, webhook: WebhookServer, pod: dict[str, Any], admitted: dict[str, Any], answers: Answers) -> dict[str, bool]:
    """Each claim, and whether it holds."""
    return {
        "the prediction over HTTP equals MLflow's own": answers.http == answers.mlflow,
        "the prediction of the Domino function equals MLflow's own": answers.function == answers.mlflow,
        "nothing that the pod's author wrote was changed": holds_all_of(admitted, pod),
        "the admitted pod, reviewed again, stays as it is": patch_of(webhook.review(admitted)) == [],
        "the project's token is in no pod and in no log": not token_seen(stage, admitted),
    }


def holds_all_of(whole: object, part: object) -> bool:
    """Whether everything in `part` stands unchanged in `whole`; in lists, in the same order."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and holds_all_of(whole[key], value) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        remaining = iter(whole)
        return all(any(holds_all_of(there, item) for there in remaining) for item in part)
    return whole == part


def token_seen(stage: Stage, admitted: dict[str, Any]) -> bool:
    logs = "".join(path.read_text(errors="replace") for path in stage.directory.rglob("*.log"))
    return stage.token in json.dumps(admitted) + logs
