"""KServe's own controller makes pods of InferenceServices, with our serving runtime and storage container."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from model_contract.model_ref import ModelRef
from testbed.cluster.image_volumes import packaged_model
from testbed.cluster.kube import Kube
from testbed.controllers.registry import DELETED, NAMESPACE, PRODUCTION, Registry
from testbed.infer_messages import Response, message_of
from testbed.pages import README, ROOT, Shell, blocks
from testbed.rpc_client import INFER

ROW = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}}  # several of them fit on a node of two processors

Json = dict[str, Any]


def inference_service(name: str, storage_uri: str, **model: Any) -> Json:
    """Return an InferenceService that names no runtime."""
    spec = {"modelFormat": {"name": "mlflow"}, "storageUri": storage_uri, "resources": SMALL} | model
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictor": {"model": spec}},
    }


@contextmanager
def removed(kube: Kube, name: str) -> Iterator[str]:
    """Remove an InferenceService after the block, and return when its pods are gone."""
    try:
        yield name
    finally:
        kube("delete", "inferenceservice", name, "--wait=true", "--ignore-not-found")
        pods = ("pod", "-l", f"serving.kserve.io/inferenceservice={name}")
        kube("delete", *pods, "--grace-period=1", "--wait=false")
        kube("wait", "--for=delete", *pods, "--timeout=90s")


@contextmanager
def applied(kube: Kube, service: Json) -> Iterator[str]:
    """Have an InferenceService for the length of a block; its pods are gone after it."""
    with removed(kube, service["metadata"]["name"]) as name:
        kube.apply(service)
        yield name


@contextmanager
def ready(kube: Kube, service: Json) -> Iterator[str]:
    with applied(kube, service) as name:
        wait_until_ready(kube, name)
        yield name


def wait_until_ready(kube: Kube, name: str) -> None:
    kube("wait", "--for=condition=Ready", f"inferenceservice/{name}", "--timeout=240s")


def pods_of(kube: Kube, name: str) -> list[Json]:
    return kube.items("pod", "-l", f"serving.kserve.io/inferenceservice={name}")


def asked(kube: Kube, name: str, path: str, body: Json) -> Json:
    return kube.post(f"{proxy(name)}{path}", body)


def told(kube: Kube, name: str, path: str) -> Json:
    found: Json = yaml.safe_load(kube("get", "--raw", f"{proxy(name)}{path}"))
    return found


def proxy(name: str) -> str:
    """Return the API server's path to the Service that KServe has made."""
    return f"/api/v1/namespaces/default/services/{name}-predictor:http1/proxy"


@pytest.mark.parametrize("storage_uri", ["mlflow://wine/3", "mlflow://wine@production"], ids=["version", "alias"])
def test_unnamed_runtime_of_a_storage_uri_is_ours_and_answers_v1_v2_and_grpc(
    storage_uri: str, with_kserve: Kube, models: Registry
) -> None:
    with ready(with_kserve, inference_service("vines", storage_uri)) as name:
        tensor = {"name": "input-0", "shape": [1, len(ROW)], "datatype": "FP64", "data": ROW}
        v1 = asked(with_kserve, name, f"/v1/models/{name}:predict", {"instances": [ROW]})
        v2 = asked(with_kserve, name, f"/v2/models/{name}/infer", {"inputs": [tensor]})
        told_model = told(with_kserve, name, "/info")["model"]
        with with_kserve.forwarded("default", f"{name}-predictor", 9000) as address:
            channel = grpc.insecure_channel(address.removeprefix("http://"))
            message = message_of({"inputs": [tensor]}, raw=True, model=name).SerializeToString()
            rpc = Response.FromString(channel.unary_unary(INFER)(message, timeout=30))
            channel.close()
        status = with_kserve.get("inferenceservice", name)["status"]

    (prediction,) = v1["predictions"]
    assert 3 < prediction < 8
    assert v2["outputs"][0]["data"] == [prediction]
    assert np.frombuffer(rpc.raw_output_contents[0]).tolist() == [prediction]
    version = str(PRODUCTION) if "@" in storage_uri else "3"
    assert (told_model["version"], told_model["run_id"]) == (version, models.runs[version])
    assert (status["clusterServingRuntimeName"], status["modelStatus"]["states"]["activeModelState"]) == (
        "model-api-runtime",
        "Loaded",
    )


def test_image_of_a_packaged_version_is_mounted_and_served(with_kserve: Kube, models: Registry, tmp_path: Path) -> None:
    ref = ModelRef(name="wine", version="3", owner="jane.doe", run_id=models.runs["3"])
    with packaged_model(with_kserve, ref, tmp_path, namespace=NAMESPACE) as packaged:
        with ready(with_kserve, inference_service("fetched", "mlflow://wine/3")) as name:
            fetched = asked(with_kserve, name, f"/v1/models/{name}:predict", {"instances": [ROW]})
        with ready(with_kserve, inference_service("mounted", f"oci+native://{packaged.image}")) as name:
            mounted = asked(with_kserve, name, f"/v1/models/{name}:predict", {"instances": [ROW]})
            (pod,) = pods_of(with_kserve, name)

    assert mounted == fetched
    assert [volume["image"]["reference"] for volume in pod["spec"]["volumes"] if "image" in volume] == [packaged.image]
    assert "storage-initializer" not in [one["name"] for one in pod["spec"].get("initContainers", [])]


def test_pod_that_starts_after_an_alias_has_moved_serves_the_other_version(with_kserve: Kube, models: Registry) -> None:
    with ready(with_kserve, inference_service("alias", "mlflow://wine@production")) as name:
        before = told(with_kserve, name, "/info")["model"]["run_id"]
        models.move_alias(3)
        try:
            unchanged = told(with_kserve, name, "/info")["model"]["run_id"]
            restart = 'spec: {predictor: {annotations: {example.com/restarted: "1"}}}'
            with_kserve("patch", "inferenceservice", name, "--type=merge", "-p", restart)
            after = with_kserve.until(lambda: run_if_replaced(with_kserve, name), seconds=120)
        finally:
            models.move_alias(PRODUCTION)

    assert (before, unchanged, after) == (models.runs["2"], models.runs["2"], models.runs["3"])


def run_if_replaced(kube: Kube, name: str) -> str | None:
    """Return the run that the only pod serves, once that is a pod with the annotation."""
    pods = pods_of(kube, name)
    if len(pods) > 1 or "example.com/restarted" not in pods[0]["metadata"]["annotations"]:
        return None
    run: str = told(kube, name, "/info")["model"]["run_id"]
    return run


@pytest.mark.parametrize(
    ("storage_uri", "code", "sentence"),
    [
        ("mlflow://wine/99", 5, "99"),
        (f"mlflow://wine/{DELETED}", 5, str(DELETED)),
        ("mlflow://wine@staging", 5, "staging"),
        ("mlflow://beer/1", 5, "beer"),
        ("mlflow://jane:word@wine/3", 3, "name in the storage URI"),
        ("mlflow://wine/../../etc", 3, "storage URI"),
    ],
    ids=[
        "no such version",
        "deleted version",
        "no such alias",
        "no such model",
        "credentials in the URI",
        "a path upwards",
    ],
)
def test_describe_shows_the_reason_of_a_model_that_does_not_come(
    storage_uri: str, code: int, sentence: str, with_kserve: Kube
) -> None:
    with applied(with_kserve, inference_service("absent", storage_uri)) as name:
        described = with_kserve.until(lambda: described_failure(with_kserve, name), seconds=90)

    assert re.search(rf"Exit Code:\s+{code}\n", described)
    assert sentence in failure_message(described)


def test_describe_names_the_setting_that_a_missing_secret_would_have_had(with_kserve: Kube) -> None:
    secret = with_kserve.get("secret", "mlflow-credentials")
    with_kserve("delete", "secret", "mlflow-credentials")
    try:
        with applied(with_kserve, inference_service("keyless", "mlflow://wine/3")) as name:
            described = with_kserve.until(lambda: described_failure(with_kserve, name), seconds=90)
    finally:
        with_kserve.apply(
            {key: secret[key] for key in ("apiVersion", "kind", "data")} | {"metadata": {"name": "mlflow-credentials"}}
        )

    assert re.search(r"Exit Code:\s+3\n", described)
    assert "MLFLOW_TRACKING_URI is not set" in failure_message(described)


def test_describe_shows_the_reason_of_a_model_that_does_not_load(with_kserve: Kube) -> None:
    service = inference_service("stuck", "mlflow://wine/3", args=["--max-queue=many"])
    with applied(with_kserve, service) as name:
        with_kserve.until(lambda: crashes(with_kserve, name), seconds=120)
        # KServe 0.20 is not told of the crash, and looks when the InferenceService or its Deployment changes.
        with_kserve("annotate", "inferenceservice", name, "example.com/seen=1")
        described = with_kserve.until(lambda: described_failure(with_kserve, name), seconds=60)

    assert re.search(r"Exit Code:\s+3\n", described)
    assert "--max-queue" in failure_message(described)


def crashes(kube: Kube, name: str) -> bool:
    """Return True if the runtime's container waits to be started again."""
    states = [found for pod in pods_of(kube, name) for found in pod["status"].get("containerStatuses", [])]
    return any(found["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for found in states)


def described_failure(kube: Kube, name: str) -> str | None:
    """Return what `kubectl describe` shows, once it shows the end of a container."""
    text = kube("describe", "inferenceservice", name)
    return text if "Last Failure Info" in text and failure_message(text) else None


def failure_message(described: str) -> str:
    found = re.search(r"Last Failure Info:.*?Message:(.*?)\n\s+Reason:", described, re.DOTALL)
    return found[1].strip() if found else ""


def typed(kube: Kube, commands: Sequence[str]) -> str:
    """Type commands in a checkout, before there is a Secret with the address of MLflow, and return what they print."""
    kube("delete", "secret", "mlflow-credentials")
    return Shell(kube=kube, folder=ROOT).type(*commands)


def test_commands_of_the_how_to_serve_a_model_when_they_are_typed(with_kserve: Kube) -> None:
    walk = ("Install", "Serve a model", "Serve another version")
    printed = typed(with_kserve, [block for heading in walk for block in blocks("serve-with-kserve", heading)])

    (prediction,) = re.findall(r'"predictions": ?\[([\d.]+)\]', printed)
    assert f'"data":[{prediction}]' in printed.replace(" ", "")
    assert '"name":"fixed acidity"' in printed


def test_commands_of_the_readme_serve_a_model_when_they_are_typed(with_kserve: Kube) -> None:
    start = blocks(README, "Start here")[-1]
    with removed(with_kserve, "wine") as name:
        typed(with_kserve, [start])
        wait_until_ready(with_kserve, name)
        answer = asked(with_kserve, name, f"/v1/models/{name}:predict", {"instances": [ROW]})
        version = told(with_kserve, name, "/info")["model"]["version"]

    assert len(start.splitlines()) == 4
    assert 3 < answer["predictions"][0] < 8
    assert version == "3"
