"""Faults around a model pod, and the output of `kubectl describe pod` for each."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import testbed
from model_contract.model_ref import ModelRef
from model_contract.names import DEADLINE_ANNOTATION, ENABLED_LABEL, MEMORY_LIMIT_ANNOTATION, pull_secret
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import (
    COMPUTE,
    IDLE,
    LOCKED,
    MLFLOW,
    PROJECT_ID,
    USER,
    fetch_ended,
    literals,
    model_pod,
    settings,
)

SECRET = pull_secret(PROJECT_ID)
TOKEN = "the-projects-pull-token"
PROXY = "testbed.token_proxy"


def described(kube: Kube, name: str) -> str:
    """Return the output of `kubectl describe pod` without its line breaks."""
    return re.sub(r"\s+", " ", kube("-n", COMPUTE, "describe", "pod", name))


def failed(kube: Kube, name: str, code: int) -> str:
    """Wait until the pod's fetch has ended with the code, and return what `kubectl describe pod` says."""
    assert fetch_ended(kube, name)["exitCode"] == code
    text = described(kube, name)
    assert f"Exit Code: {code}" in text
    return text


def waits(kube: Kube, name: str, reason: str) -> None:
    """Wait until `kubectl describe pod` gives the reason for which no container of the pod has started."""
    kube.until(lambda: reason in described(kube, name), what=reason, pause=2)


def ready(kube: Kube, name: str, namespace: str = COMPUTE) -> None:
    kube("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=240s")


def test_mlflow_that_is_down_is_named_and_waited_for(quiet: Kube, wine: ModelRef) -> None:
    """Take the endpoints from its Service, since this MLflow keeps nothing when it stops."""
    selector = '{"spec": {"selector": {"app.kubernetes.io/name": "%s"}}}'
    quiet("-n", MLFLOW, "patch", "service", "mlflow", "-p", selector % "nobody")
    try:
        quiet.until(lambda: not addresses(quiet), what="the Service has no addresses")
        time.sleep(2)  # until kube-proxy has heard of it
        pod = model_pod("waits", literals(wine), **IDLE)
        pod["metadata"]["annotations"] = {DEADLINE_ANNOTATION: "5s"}  # five tries take half a minute
        quiet.apply(pod)
        text = failed(quiet, "waits", 8)
    finally:
        quiet("-n", MLFLOW, "patch", "service", "mlflow", "-p", selector % "mlflow")

    assert "MLflow at http://mlflow.mlflow-efs.svc:5000 does not answer" in text
    ready(quiet, "waits")


def addresses(kube: Kube) -> list[Any]:
    slices = kube.items("-n", MLFLOW, "endpointslice", "-l", "kubernetes.io/service-name=mlflow")
    return [endpoint for found in slices for endpoint in found.get("endpoints") or []]


def test_version_that_does_not_exist_is_named(quiet: Kube, wine: ModelRef) -> None:
    ref = ModelRef(name=wine.name, version="77", owner=wine.owner, run_id=wine.run_id)
    quiet.apply(model_pod("nowhere", literals(ref), **IDLE))

    assert "version 77 of model 'wine-quality'" in failed(quiet, "nowhere", 5)


def test_model_that_does_not_fit_is_refused_before_it_is_fetched(quiet: Kube, wine: ModelRef) -> None:
    with settings(quiet, {"STORE_SIZE": "1Ki"}):
        quiet.apply(model_pod("too-large", literals(wine), **IDLE))
        text = failed(quiet, "too-large", 11)

    assert "--max-bytes" in text


@pytest.fixture
def guarded(quiet: Kube) -> Iterator[Kube]:
    """MLflow behind a proxy that requires the project's token, and a webhook that mounts the token."""
    code = {path.name: path.read_text() for path in modules_of(PROXY)}
    metadata = {"name": "guard", "namespace": MLFLOW}
    quiet.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"__init__.py": "", **code, "token": TOKEN},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "guard"}, "ports": [GUARD_PORT]},
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": guard_spec()},
    )
    quiet.rolled_out(MLFLOW, "guard")
    quiet("-n", COMPUTE, "delete", "secret", SECRET, "--ignore-not-found")
    with settings(quiet, {"TOKEN": "pull", "TRACKING_URI": "http://guard.mlflow-efs.svc"}):
        yield quiet
    quiet("-n", MLFLOW, "delete", "configmap,service,deployment", "guard")
    quiet("-n", COMPUTE, "delete", "secret", SECRET, "--ignore-not-found")


def modules_of(program: str) -> list[Path]:
    """Return the files of the testbed that a program imports, with its own."""
    script = f"import sys, {program}; print(*(name for name in sys.modules if name.startswith('testbed.')))"
    names = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    return [Path(testbed.__file__).with_name(f"{name.removeprefix('testbed.')}.py") for name in names]


GUARD_PORT = {"port": 80, "targetPort": 8080}


def guard_spec() -> dict[str, Any]:
    container = {
        "name": "guard",
        "image": "model-api-delivery:0.1.0",
        "command": [
            "python",
            "-m",
            PROXY,
            "--host=0.0.0.0",
            "--port=8080",
            "--token-file=/code/testbed/token",
        ],
        "args": ["--upstream=http://mlflow.mlflow-efs.svc:5000"],
        "workingDir": "/code",
        "securityContext": LOCKED,
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "ports": [{"containerPort": 8080}],
        "volumeMounts": [{"name": "code", "mountPath": "/code/testbed"}],
    }
    pod = {
        "securityContext": USER,
        "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": "guard"}}],
    }
    return {
        "selector": {"matchLabels": {"app": "guard"}},
        "template": {"metadata": {"labels": {"app": "guard"}}, "spec": pod},
    }


def secret(kube: Kube, data: Mapping[str, str]) -> None:
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": COMPUTE},
            "stringData": dict(data),
        }
    )


def test_token_of_the_project_is_missing_wrong_and_right(guarded: Kube, wine: ModelRef) -> None:
    guarded.apply(model_pod("no-secret", literals(wine), **IDLE))
    waits(guarded, "no-secret", f'secret "{SECRET}" not found')

    secret(guarded, {"another": TOKEN})
    guarded.apply(model_pod("no-key", literals(wine), **IDLE))
    waits(guarded, "no-key", "references non-existent secret key: token")

    secret(guarded, {"token": "of-another-project"})
    guarded.apply(model_pod("wrong-token", literals(wine), **IDLE))
    text = failed(guarded, "wrong-token", 4)
    assert "401 UNAUTHENTICATED: token not accepted" in text
    assert "of-another-project" not in text

    secret(guarded, {"token": TOKEN})
    guarded.apply(model_pod("right-token", literals(wine), **IDLE))
    ready(guarded, "right-token")
    assert TOKEN not in json.dumps(guarded.get("-n", COMPUTE, "pod", "right-token"))


@contextmanager
def constrained(kube: Kube, namespace: str, kind: str, spec: dict[str, Any]) -> Iterator[str]:
    """An enabled namespace with a LimitRange or a ResourceQuota; nothing waits until it is gone."""
    kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {ENABLED_LABEL: "true"}}},
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "constraint", "namespace": namespace}, "spec": spec},
    )
    try:
        kube.until(lambda: kube.attempt("-n", namespace, "get", "serviceaccount", "default").returncode == 0)
        yield namespace
    finally:
        kube("delete", "namespace", namespace, "--wait=false")


RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "384Mi"}}


def test_limit_range_below_the_init_containers_limit(quiet: Kube, wine: ModelRef) -> None:
    limits = {"type": "Container", "max": {"memory": "384Mi"}}
    with constrained(quiet, "with-a-limit", "LimitRange", {"limits": [limits]}) as namespace:
        pod = model_pod("limited", literals(wine), namespace=namespace, resources=RESOURCES, **IDLE)
        denied = quiet.attempt("apply", "-f", "-", given=json.dumps(pod))
        pod["metadata"]["annotations"] = {MEMORY_LIMIT_ANNOTATION: "256Mi"}
        quiet.apply(pod)
        ready(quiet, "limited", namespace)

    assert "maximum memory usage per Container is 384Mi, but limit is 512Mi" in denied.stderr


def test_limit_range_gives_its_defaults_to_a_pod_that_has_none(quiet: Kube, wine: ModelRef) -> None:
    limits = {"type": "Container", "default": {"memory": "512Mi"}, "defaultRequest": {"memory": "256Mi"}}
    with constrained(quiet, "with-defaults", "LimitRange", {"limits": [limits]}) as namespace:
        quiet.apply(model_pod("defaulted", literals(wine), namespace=namespace, **IDLE))
        ready(quiet, "defaulted", namespace)
        init = quiet.get("-n", namespace, "pod", "defaulted")["spec"]["initContainers"][0]

    assert init["resources"]["limits"]["memory"] == "512Mi"


def test_quota_counts_the_larger_of_init_container_and_containers(quiet: Kube, wine: ModelRef) -> None:
    with constrained(quiet, "with-a-quota", "ResourceQuota", {"hard": {"limits.memory": "512Mi"}}) as namespace:
        refused = quiet.attempt(
            "apply", "-f", "-", given=json.dumps(model_pod("unlimited", literals(wine), namespace=namespace))
        )
        quiet.apply(model_pod("counted", literals(wine), namespace=namespace, resources=RESOURCES, **IDLE))
        ready(quiet, "counted", namespace)
        used = quiet.get("-n", namespace, "resourcequota", "constraint")["status"]["used"]

    assert "must specify limits.memory" in refused.stderr
    assert used == {"limits.memory": "512Mi"}
