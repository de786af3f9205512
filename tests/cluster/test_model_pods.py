"""A model API pod: admitted, filled, serving, called through its Service, for each source of its variables."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import DOMAIN, INIT_CONTAINER, INJECT, MODEL_VARIABLES, STATUS_ANNOTATION
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, IDLE, delete_workloads, literals, model_deployment, model_pod, service

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


@pytest.fixture(scope="module")
def models(installed: Kube, wine: ModelRef) -> Iterator[Kube]:
    """A Deployment for each source of the variables, all started at once; the one with `envFrom` serves its model."""
    for name, kind in {"from-configmap": "ConfigMap", "from-secret": "Secret", "whole": "Secret"}.items():
        configured(installed, name, kind, wine)
    whole = {"envFrom": [{"secretRef": {"name": "whole"}}]}
    installed.apply(
        model_deployment("env-from", [], annotations={INJECT: "true"}, **whole),
        service("env-from"),
        model_deployment("by-value", literals(wine), replicas=2, **IDLE),
        model_deployment("from-configmap", references("configMapKeyRef", "from-configmap"), **IDLE),
        model_deployment("from-secret", references("secretKeyRef", "from-secret"), **IDLE),
        curious(wine),
    )
    yield installed
    delete_workloads(installed)


def references(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"name": variable, "valueFrom": {kind: {"name": name, "key": variable}}} for variable in MODEL_VARIABLES]


def curious(wine: ModelRef) -> dict[str, Any]:
    """Return a pod that asks for a token, which the API server would mount into every container."""
    pod = model_pod("curious", literals(wine), **IDLE)
    pod["spec"]["automountServiceAccountToken"] = True
    return pod


def test_deployment_with_values_has_its_model_in_two_replicas(models: Kube) -> None:
    models.rolled_out(COMPUTE, "by-value")

    pods = pods_of(models, "by-value")
    assert len(pods) == 2
    for pod in pods:
        assert pod["metadata"]["annotations"][STATUS_ANNOTATION] == "injected"
        assert pod["status"]["qosClass"] == "BestEffort"
        init = next(container for container in pod["spec"]["initContainers"] if container["name"] == INIT_CONTAINER)
        assert "kube-api-access" not in str(init["volumeMounts"])
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_model_that_is_named_by_references_is_where_they_say(models: Kube, kind: str) -> None:
    """Wait for the probe, which reads the variables; the quickstart's model API serves by references too."""
    models.rolled_out(COMPUTE, f"from-{kind.lower()}")


def test_variables_in_a_source_of_the_environment(models: Kube) -> None:
    models.rolled_out(COMPUTE, "env-from")

    assert predict(models, "env-from") == predict(models, "wine-quality")


def admitted(kube: Kube, pod: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Create a pod as a dry run: no container of it starts."""
    return kube.attempt("apply", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(pod))


def test_source_without_the_annotation_is_admitted_with_a_warning(installed: Kube) -> None:
    done = admitted(installed, model_pod("unannotated", [], envFrom=[{"secretRef": {"name": "whole"}}]))

    assert done.returncode == 0
    assert f'annotate {INJECT}: "true"' in done.stderr
    annotations = json.loads(done.stdout)["metadata"]["annotations"]
    assert annotations[STATUS_ANNOTATION] == "skipped:envfrom_not_inspected"


def test_creator_of_a_pod_with_incomplete_variables_is_warned(installed: Kube, wine: ModelRef) -> None:
    done = admitted(installed, model_pod("incomplete", literals(wine)[:3]))

    assert done.returncode == 0
    assert "MLFLOW_RUN_ID is not set on container model" in done.stderr


def test_impossible_variables_are_denied_with_a_reason(installed: Kube, wine: ModelRef) -> None:
    env = [entry | ({"value": "../x"} if entry["name"] == "MLFLOW_MODEL_OWNER" else {}) for entry in literals(wine)]
    done = admitted(installed, model_pod("impossible", env))

    assert done.returncode != 0
    assert f'admission webhook "pods.{DOMAIN}" denied the request' in done.stderr
    assert "MLFLOW_MODEL_OWNER" in done.stderr


def test_container_that_looks_for_a_kubernetes_token_finds_none(models: Kube) -> None:
    models("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/curious", "--timeout=240s")

    containers = {
        container["name"]: container
        for key in ("initContainers", "containers")
        for container in models.get("-n", COMPUTE, "pod", "curious")["spec"][key]
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
