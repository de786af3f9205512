"""The pod that KServe makes of an InferenceService and of our serving runtime and storage container."""

from pathlib import Path
from typing import Any

import yaml

from model_contract.model_ref import ModelRef
from serving_runtime.commands.manifest import inference_service
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, TEST_LABEL, service
from testbed.kserve import pod_of
from tests.cluster.test_model_pods import COLUMNS, WINE, predict

COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "kserve"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "mlflow-credentials", "namespace": COMPUTE, "labels": TEST_LABEL},
    "stringData": {"MLFLOW_TRACKING_URI": "http://mlflow.mlflow-efs.svc:5000"},
}


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPONENT / name).read_text())
    return found


def predictor(name: str, storage_uri: str) -> dict[str, Any]:
    runtime, storage = document("cluster-serving-runtime.yaml"), document("cluster-storage-container.yaml")
    pod = pod_of(runtime, inference_service(name, storage_uri), storage)
    pod["metadata"] |= {"namespace": COMPUTE, "labels": TEST_LABEL | {"app": name}}
    return pod


def asked(kube: Kube, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return kube.post(f"/api/v1/namespaces/{COMPUTE}/services/{name}:http/proxy{path}", body)


def test_inference_service_is_served_by_both_protocols_of_kserve(quiet: Kube, wine: ModelRef) -> None:
    quiet.apply(SECRET, predictor("cellar", f"mlflow://{wine.name}/{wine.version}"), service("cellar"))
    quiet("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/cellar-predictor", "--timeout=240s")
    rows = WINE["dataframe_split"]["data"]
    tensor = {"name": "input-0", "shape": [1, len(COLUMNS)], "datatype": "FP64", "data": rows}

    v1 = asked(quiet, "cellar", "/v1/models/cellar:predict", {"instances": rows})
    v2 = asked(quiet, "cellar", "/v2/models/cellar/infer", {"inputs": [tensor]})

    expected = predict(quiet, "wine-quality")
    assert (v1["predictions"], v2["outputs"][0]["data"]) == ([expected], [expected])
    # Native loading, its comparison in a process beside it, and shared memory need no place to write to.
    quiet.until(
        lambda: "the model predicts the same as loaded by MLflow" in quiet("-n", COMPUTE, "logs", "cellar-predictor"),
    )
