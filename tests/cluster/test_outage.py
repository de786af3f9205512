"""The webhook is away, or its certificate is, while pods are created."""

import json
import time

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import REGISTRATION, TLS_SECRET
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import (
    COMPUTE,
    IDLE,
    PLATFORM,
    literals,
    model_deployment,
    model_pod,
    plain_pod,
    scale_webhook,
)
from tests.cluster.test_doctor import doctor
from webhook.certificates.cluster import ClusterObjects
from webhook.certificates.issuance import is_issued_by
from webhook.certificates.state import read_state


def test_without_webhook_other_pods_start_and_model_pods_wait_for_it(quiet: Kube, wine: ModelRef) -> None:
    """Look with `doctor` too, each check of which finds it. Leave two pods of the webhook, as the others need them."""
    scale_webhook(quiet, 0)
    try:
        quiet.apply(plain_pod("other"), plain_pod("neighbour", COMPUTE))
        code, findings = doctor(quiet)
        denied = quiet.attempt("apply", "-f", "-", given=json.dumps(model_pod("lonely", literals(wine))))
        quiet.apply(model_deployment("patient", literals(wine), **IDLE))
        failed = quiet.until(lambda: failure_of(quiet, "patient"), what="the ReplicaSet says why it has no pod")
        quiet("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/neighbour", "--timeout=240s")
        quiet("wait", "--for=condition=Ready", "pod/other", "--timeout=240s")
    finally:
        scale_webhook(quiet, 2)
        quiet("delete", "pod", "other", "--grace-period=1")

    assert code == 6
    assert findings["webhook"]["health"] == findings["service"]["health"] == "bad"
    assert "denied request" in findings["admission in domino-compute"]["found"]
    for message in (denied.stderr, failed):
        assert "container model asks for an MLflow model and has none" in message
        assert "kubectl rollout restart" in message
    quiet.rolled_out(COMPUTE, "patient", seconds=180)


def failure_of(kube: Kube, name: str) -> str | None:
    sets = kube.items("-n", COMPUTE, "replicaset", "-l", f"app={name}")
    conditions = [condition for found in sets for condition in found["status"].get("conditions", [])]
    return next((condition["message"] for condition in conditions if condition["type"] == "ReplicaFailure"), None)


def test_policy_is_sound_to_the_api_server(installed: Kube) -> None:
    status = installed.get("validatingadmissionpolicy", "model-api-injected")["status"]

    assert status["typeChecking"].get("expressionWarnings") is None


@pytest.mark.usefixtures("two_pods")
def test_cleared_bundle_is_repaired_at_once(installed: Kube, api: ClusterObjects) -> None:
    """Without its watch, the webhook would look every 30 s."""
    before = api.registration().bundles
    seconds = []
    for _ in range(3):
        installed("patch", "mutatingwebhookconfiguration", REGISTRATION, "--type=json", "-p", CLEAR)
        started = time.monotonic()
        installed.until(lambda: api.registration().bundles == before)
        seconds.append(time.monotonic() - started)

    assert max(seconds) < 15


CLEAR = '[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]'


@pytest.mark.usefixtures("two_pods")
def test_deleted_secret_stops_nothing_and_is_filled_again_with_what_was_there(
    quiet: Kube, wine: ModelRef, api: ClusterObjects
) -> None:
    before = dict(api.secret().data)
    quiet("-n", PLATFORM, "delete", "secret", TLS_SECRET)
    try:
        created = quiet(
            "apply",
            "--dry-run=server",
            "-o",
            "jsonpath={.spec.initContainers[*].name}",
            "-f",
            "-",
            given=json.dumps(model_pod("p", literals(wine))),
        )
    finally:
        empty = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": TLS_SECRET, "namespace": PLATFORM}}
        quiet.apply(empty)

    assert created == "mlflow-model-init"
    quiet.until(lambda: dict(api.secret().data) == before, what="the Secret is as it was")


@pytest.mark.usefixtures("two_pods")
def test_served_leaf_is_of_a_trusted_authority(api: ClusterObjects) -> None:
    leaf = read_state(api.secret().data).leaf

    assert leaf is not None
    assert any(is_issued_by(leaf.certificate, authority) for authority in api.registration().trusted)
