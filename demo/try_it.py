"""What a person can type while the demo is left running: a purpose, and a command for it."""

import json

import yaml

from demo.stage import GuardedMlflow, Registered, Stage
from testbed.local_pod import LocalPod
from testbed.webhook_server import WebhookServer


def prediction_commands(endpoint: str, registered: Registered) -> dict[str, str]:
    wine = dict(zip(registered.rows["columns"], registered.rows["data"][0], strict=True))
    post = f"curl -s {endpoint}/invocations -H 'Content-Type: application/json' -d"
    return {
        "a prediction": f"{post} '{json.dumps({'dataframe_records': [wine]})}'",
        "a value that the model's signature refuses": f"{post} '{json.dumps({'dataframe_records': [wine | {'pH': 'sour'}]})}'",
    }


def admission_commands(stage: Stage, webhook: WebhookServer, mlflow: GuardedMlflow, pod: LocalPod) -> dict[str, str]:
    admitted = stage.directory / "admitted.yaml"
    admitted.write_text(yaml.safe_dump(pod.pod, sort_keys=False))
    return {
        "why the pod is injected, rule by rule": ".venv/bin/model-api-webhook explain -f examples/model-api-pod.yaml",
        "the admitted pod": f"cat {admitted}",
        "the webhook's health": f"curl -s --cacert {webhook.certificates.authority} {webhook.url}/readyz",
        "MLflow, in a browser": mlflow.server.uri,
    }
