"""A model API pod: admitted, filled, serving, called through its Service, for each source of its variables."""

import json
import subprocess
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import DOMAIN, INIT_CONTAINER, INJECT, MODEL_VARIABLES, STATUS_ANNOTATION
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, IDLE, literals, model_deployment, model_pod, service

COLUMNS = ["fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides", "free sulfur dioxide"]
COLUMNS += ["total sulfur dioxide", "density", "pH", "sulphates", "alcohol"]
WINE = {
    "dataframe_split": {"columns": COLUMNS, "data": [[7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]]}
}


def predict(kube: Kube, name: str) -> float:
    """Call the Service."""
    answer = kube.until(lambda: _asked(kube, name), what=f"an answer of {name}")
    prediction: float = answer["predictions"][0]
    return prediction


def _asked(kube: Kube, name: str) -> dict[str, Any] | None:
    done = kube.attempt(
        "create",
        "--raw",
        f"/api/v1/namespaces/{COMPUTE}/services/{name}:http/proxy/invocations",
        "-f",
        "-",
        given=json.dumps(WINE),
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def configured(kube: Kube, name: str, kind: str, ref: ModelRef) -> None:
    values = ref.variables()
    content = {"stringData": values} if kind == "Secret" else {"data": values}
    kube.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": COMPUTE}, **content})


def pods_of(kube: Kube, name: str) -> list[dict[str, Any]]:
    return kube.items("-n", COMPUTE, "pod", "-l", f"app={name}")


def test_quickstart_answers_through_its_service(installed: Kube) -> None:
    assert 3 < predict(installed, "wine-quality") < 8


def test_deployment_with_values_serves_from_two_replicas(quiet: Kube, wine: ModelRef) -> None:
    quiet.apply(model_deployment("by-value", literals(wine), replicas=2), service("by-value"))
    quiet.rolled_out(COMPUTE, "by-value")

    assert predict(quiet, "by-value") == predict(quiet, "wine-quality")
    pods = pods_of(quiet, "by-value")
    assert len(pods) == 2
    for pod in pods:
        assert pod["metadata"]["annotations"][STATUS_ANNOTATION] == "injected"
        assert pod["status"]["qosClass"] == "BestEffort"
        init = next(container for container in pod["spec"]["initContainers"] if container["name"] == INIT_CONTAINER)
        assert "kube-api-access" not in str(init["volumeMounts"])
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_model_that_is_named_by_references_is_served(quiet: Kube, wine: ModelRef, kind: str) -> None:
    name = f"from-{kind.lower()}"
    configured(quiet, name, kind, wine)
    reference = "secretKeyRef" if kind == "Secret" else "configMapKeyRef"
    env = [
        {"name": variable, "valueFrom": {reference: {"name": name, "key": variable}}} for variable in MODEL_VARIABLES
    ]
    quiet.apply(model_deployment(name, env), service(name))
    quiet.rolled_out(COMPUTE, name)

    assert predict(quiet, name) == predict(quiet, "wine-quality")


def test_variables_in_a_source_of_the_environment(quiet: Kube, wine: ModelRef) -> None:
    configured(quiet, "whole", "Secret", wine)
    sources = [{"secretRef": {"name": "whole"}}]
    quiet.apply(model_deployment("env-from", [], annotations={INJECT: "true"}, envFrom=sources), service("env-from"))
    quiet.rolled_out(COMPUTE, "env-from")

    assert predict(quiet, "env-from") == predict(quiet, "wine-quality")


def admitted(kube: Kube, pod: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Create a pod as a dry run: no container of it starts."""
    return kube.attempt("apply", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(pod))


def test_source_without_the_annotation_is_admitted_with_a_warning(quiet: Kube) -> None:
    done = admitted(quiet, model_pod("unannotated", [], envFrom=[{"secretRef": {"name": "whole"}}]))

    assert done.returncode == 0
    assert f'annotate {INJECT}: "true"' in done.stderr
    annotations = json.loads(done.stdout)["metadata"]["annotations"]
    assert annotations[STATUS_ANNOTATION] == "skipped:envfrom_not_inspected"


def test_creator_of_a_pod_with_incomplete_variables_is_warned(quiet: Kube, wine: ModelRef) -> None:
    done = admitted(quiet, model_pod("incomplete", literals(wine)[:3]))

    assert done.returncode == 0
    assert "MLFLOW_RUN_ID is not set on container model" in done.stderr


def test_impossible_variables_are_denied_with_a_reason(quiet: Kube, wine: ModelRef) -> None:
    env = [entry | ({"value": "../x"} if entry["name"] == "MLFLOW_MODEL_OWNER" else {}) for entry in literals(wine)]
    done = admitted(quiet, model_pod("impossible", env))

    assert done.returncode != 0
    assert f'admission webhook "pods.{DOMAIN}" denied the request' in done.stderr
    assert "MLFLOW_MODEL_OWNER" in done.stderr


def test_container_that_looks_for_a_kubernetes_token_finds_none(quiet: Kube, wine: ModelRef) -> None:
    """Let the pod ask for a token, which the API server would mount into every container."""
    pod = model_pod("curious", literals(wine), **IDLE)
    pod["spec"]["automountServiceAccountToken"] = True
    quiet.apply(pod)
    quiet("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/curious", "--timeout=240s")

    containers = {
        container["name"]: container
        for key in ("initContainers", "containers")
        for container in quiet.get("-n", COMPUTE, "pod", "curious")["spec"][key]
    }
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounted = {
        name: [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == place]
        for name, container in containers.items()
    }
    assert mounted[INIT_CONTAINER] == ["mlflow-tmp"]
    assert mounted["model"][0].startswith("kube-api-access-")


def test_namespaces_enforce_what_the_pods_are(installed: Kube) -> None:
    for name in ("domino-platform", "domino-compute", "mlflow-efs"):
        labels = installed.get("namespace", name)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
