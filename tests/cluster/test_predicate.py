"""One predicate in three forms: the API server's selectors and conditions, the webhook's rules, and the policy."""

import itertools
import json
import re
from typing import Any, Final

from model_contract.model_ref import ModelRef
from model_contract.names import ENABLED_LABEL, INIT_CONTAINER, REGISTRATION, STATUS_ANNOTATION
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, PLATFORM, literals, model_pod
from webhook.selection import evaluate, first_failure
from webhook.settings import Settings

Json = dict[str, Any]
TYPE: Final = "dominodatalab.com/workload-type"
LABELS: Final[list[Json]] = [
    {},
    {TYPE: None},
    {TYPE: "Workspace"},
    {TYPE: "modelapi"},
    {"model-api.dominodatalab.com/inject": "false"},
    {"model-api.dominodatalab.com/inject": "true"},
    {"app.kubernetes.io/name": "model-api-webhook"},
    {"app.kubernetes.io/name": "wine"},
]
NAMESPACES: Final = {COMPUTE: {ENABLED_LABEL: "true"}, "default": {}, PLATFORM: {}}
SETTINGS: Final = Settings.from_mapping({"MODEL_API_WEBHOOK_TOKEN": "none"})


def environments(wine: ModelRef) -> list[Json]:
    """Return variants of the variables in the model's container."""
    whole = literals(wine)
    by_field = [
        {"name": entry["name"], "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{i}']"}}}
        for i, entry in enumerate(whole)
    ]
    return [
        {"env": whole},
        {"env": whole[:1]},
        {"env": [{"name": entry["name"], "value": ""} for entry in whole]},
        {"env": [{"name": "mlflow_run_id", "value": "1"}, {"name": "MLFLOW_TRACKING_URI", "value": "x"}]},
        {"env": by_field},
        {"env": [], "envFrom": [{"configMapRef": {"name": "settings"}}]},
        {"env": [], "envFrom": []},
        {"env": [*whole, {"name": "MLFLOW_ARTIFACTS_PATH", "value": "/mnt/model"}]},
    ]


def pods(wine: ModelRef) -> dict[str, Json]:
    """Return the pods by name."""
    found = {}
    for namespace, labels, environment in itertools.product(NAMESPACES, LABELS, environments(wine)):
        pod = model_pod(f"p{len(found)}", [], namespace=namespace)
        pod["spec"]["containers"][0] |= environment
        merged = pod["metadata"]["labels"] | labels
        pod["metadata"]["labels"] = {key: value for key, value in merged.items() if value is not None}
        found[pod["metadata"]["name"]] = pod
    return found


def created(kube: Kube, wanted: dict[str, Json]) -> tuple[dict[str, Json], dict[str, str]]:
    """Return the pods as the API server stores them in a dry run, and its reasons against the others."""
    document = {"apiVersion": "v1", "kind": "List", "items": [*wanted.values()]}
    done = kube.attempt("create", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(document))
    refused = {found[1]: line for line in done.stderr.splitlines() if (found := re.search(r'pods "(p\d+)"', line))}
    decoder, text, answers = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        answer, end = decoder.raw_decode(text)
        answers += answer["items"] if answer["kind"] == "List" else [answer]
        text = text[end:].strip()
    return {pod["metadata"]["name"]: pod for pod in answers}, refused


def test_api_server_calls_for_the_pods_that_explain_says(installed: Kube, wine: ModelRef) -> None:
    wanted = pods(wine)
    admitted, refused = created(installed, wanted)

    selected = {
        name
        for name, pod in wanted.items()
        if first_failure(evaluate(pod, (space := pod["metadata"]["namespace"]), NAMESPACES[space], SETTINGS)) is None
    }
    called = {name for name, pod in admitted.items() if STATUS_ANNOTATION in pod["metadata"].get("annotations", {})}
    assert refused == {}
    assert len(admitted) == len(wanted)
    assert called == selected
    assert 0 < len(selected) < len(wanted) / 3


def test_policy_denies_the_pods_that_the_webhook_would_have_given_their_model(installed: Kube, wine: ModelRef) -> None:
    wanted = pods(wine)
    with_webhook, _ = created(installed, wanted)
    registration = installed.get("mutatingwebhookconfiguration", REGISTRATION)
    installed("delete", "mutatingwebhookconfiguration", REGISTRATION)
    try:
        installed.until(lambda: len(created(installed, wanted)[1]) > 0, what="the API server knows that it is gone")
        without_webhook, refused = created(installed, wanted)
    finally:
        del registration["metadata"]["resourceVersion"], registration["metadata"]["uid"]
        installed.apply(registration)

    injected = {name for name, pod in with_webhook.items() if INIT_CONTAINER in str(pod["spec"].get("initContainers"))}
    assert refused.keys() == injected
    assert without_webhook.keys() == wanted.keys() - injected
    assert all("asks for an MLflow model and has none" in reason for reason in refused.values())
