"""Workloads of the cluster's tests: model APIs as Domino creates them, other pods, and settings of the webhook."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from model_contract import names
from model_contract.layout import MLMODEL, model_path
from model_contract.model_ref import ModelRef
from testbed.cluster.kube import Kube

COMPUTE: Final = names.COMPUTE_NAMESPACE
PLATFORM: Final = names.PLATFORM_NAMESPACE
WEBHOOK: Final = "model-api-webhook"
MLFLOW: Final = names.MLFLOW_NAMESPACE
PROJECT_ID: Final = "66c0a1b2c3d4e5f601234567"
RUNTIME_IMAGE: Final = "model-api-runtime:0.1.0-sklearn"
TEST_LABEL: Final = {"test": "yes"}
# Without it each pod compares its model with itself as MLflow loads it, as those of the quickstart do: seconds of work.
NATIVE: Final = {"name": "MODEL_API_RUNTIME_LOADER", "value": "native"}

Json = dict[str, Any]


def idle_with(model: str) -> Json:
    """Return fields of a container that does nothing with its model, and is ready when that is at the path.

    One that serves it imports MLflow, which takes seconds of processor. A readiness probe would start a process in it
    every few seconds; a startup probe starts one, since the model is there before the container is.
    """
    probe = {"exec": {"command": ["sh", "-c", f"test -f {model}/{MLMODEL}"]}, "periodSeconds": 1}
    return {
        "command": ["sleep", "3600"],
        "readinessProbe": None,
        "startupProbe": {**probe, "failureThreshold": 300},
    }


IDLE: Final = idle_with(model_path(f"${names.MODEL_OWNER}", f"${names.RUN_ID}"))  # as its variables say


def literals(ref: ModelRef) -> list[Json]:
    return [{"name": name, "value": value} for name, value in ref.variables().items()]


def model_pod(name: str, env: Sequence[Json], *, namespace: str = COMPUTE, **changes: Any) -> Json:
    """Return a model API as a pod of its own; `changes` are fields of the container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **_labelled(name)},
        "spec": spec(env, changes),
    }


def model_deployment(
    name: str, env: Sequence[Json], *, replicas: int = 1, annotations: Json | None = None, **changes: Any
) -> Json:
    template = {"metadata": {**_labelled(name), "annotations": annotations or {}}, "spec": spec(env, changes)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": COMPUTE, "labels": TEST_LABEL},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def service(name: str) -> Json:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": COMPUTE, "labels": TEST_LABEL},
        "spec": spec,
    }


def plain_pod(name: str, namespace: str = "default") -> Json:
    """Return a pod that asks for no model."""
    container = {"name": "main", "image": RUNTIME_IMAGE, "command": ["sleep", "3600"], "securityContext": LOCKED}
    metadata = {"name": name, "namespace": namespace, "labels": TEST_LABEL}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"securityContext": USER, "containers": [container]},
    }


def spec(env: Sequence[Json], changes: Json) -> Json:
    container = {
        "name": "model",
        "image": RUNTIME_IMAGE,
        "env": [*env, NATIVE],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
        "securityContext": LOCKED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  a volume of its own
    }
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": USER,
        "containers": [container | changes],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _labelled(name: str) -> Json:
    own = {"app": name, names.WORKLOAD_TYPE_LABEL: names.MODEL_API_WORKLOAD, names.PROJECT_ID_LABEL: PROJECT_ID}
    return {"labels": TEST_LABEL | own}


USER: Final[Json] = {
    "runAsNonRoot": True,
    "runAsUser": 12574,
    "runAsGroup": 12574,
    "fsGroup": 12574,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOCKED: Final[Json] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def delete_workloads(kube: Kube) -> None:
    """Delete the workloads of tests, and wait for none of their pods."""
    kube("-n", COMPUTE, "delete", "deployment,service,pod", "-l", "test=yes", "--wait=false", "--grace-period=1")


@contextmanager
def settings(kube: Kube, values: Mapping[str, str]) -> Iterator[None]:
    """Give the webhook other settings for the length of the block."""
    deployment = ("-n", PLATFORM, "set", "env", f"deployment/{WEBHOOK}")
    kube(*deployment, *(f"MODEL_API_WEBHOOK_{key}={value}" for key, value in values.items()))
    try:
        kube.rolled_out(PLATFORM, WEBHOOK)
        yield
    finally:
        kube(*deployment, *(f"MODEL_API_WEBHOOK_{key}-" for key in values))
        kube.rolled_out(PLATFORM, WEBHOOK)


def fetch_ended(kube: Kube, name: str, namespace: str = COMPUTE) -> Json:
    """Wait until a fetch of the pod has failed, and return its end: `exitCode` and `message`, among others."""
    place = f"{{.status.initContainerStatuses[?(@.name=='{names.INIT_CONTAINER}')].lastState.terminated"
    kube("-n", namespace, "wait", f"--for=jsonpath={place}.exitCode}}", f"pod/{name}", "--timeout=240s")
    ended: Json = json.loads(kube("-n", namespace, "get", "pod", name, f"--output=jsonpath={place}}}"))
    return ended


def scale_webhook(kube: Kube, replicas: int) -> None:
    """Wait until so many pods of the webhook are ready; for none, until all are gone."""
    kube("-n", PLATFORM, "scale", f"deployment/{WEBHOOK}", f"--replicas={replicas}")
    if replicas:
        kube.rolled_out(PLATFORM, WEBHOOK)
    else:
        wait_until_webhook_is_gone(kube)


def wait_until_webhook_is_gone(kube: Kube) -> None:
    selected = ("-l", f"app.kubernetes.io/name={WEBHOOK}")
    kube("-n", PLATFORM, "wait", "--for=delete", "pod", *selected, "--timeout=240s")
