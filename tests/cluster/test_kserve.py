"""The pod that KServe makes of an InferenceService and our serving runtime, with its read-only root and one volume."""

from pathlib import Path
from typing import Any

import yaml

from model_contract.model_ref import ModelRef
from serving_runtime.commands.manifest import inference_service
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, LOCKED, TEST_LABEL, USER, service
from testbed.kserve import pod_of
from tests.cluster.test_model_pods import COLUMNS, WINE, predict

MANIFEST = Path(__file__).parents[2] / "manifests" / "components" / "kserve" / "cluster-serving-runtime.yaml"
# KServe's storage initializer is not on this cluster. Its stand-in gets the same arguments, and fills the same volume.
DOWNLOAD = "import sys, mlflow; mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2])"
STAND_IN = {
    "command": ["python", "-c", DOWNLOAD],
    "env": [
        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.mlflow-efs.svc:5000"},
        *({"name": name, "value": "/mnt/models"} for name in ("HOME", "TMPDIR")),  # where MLflow writes besides
    ],
    "securityContext": LOCKED,
}


def predictor(name: str, model: ModelRef, *, downloader: str) -> dict[str, Any]:
    pod = pod_of(yaml.safe_load(MANIFEST.read_text()), inference_service(name, f"models:/{model.name}/{model.version}"))
    pod["metadata"] |= {"namespace": COMPUTE, "labels": TEST_LABEL | {"app": name}}
    pod["spec"]["securityContext"] = USER
    pod["spec"]["initContainers"][0] |= STAND_IN | {"image": downloader}
    return pod


def asked(kube: Kube, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return kube.post(f"/api/v1/namespaces/{COMPUTE}/services/{name}:http/proxy{path}", body)


def test_inference_service_is_served_by_both_protocols_of_kserve(quiet: Kube, wine: ModelRef) -> None:
    trainer = quiet.get("-n", COMPUTE, "job", "train-wine-quality")["spec"]["template"]["spec"]["containers"][0]
    quiet.apply(predictor("cellar", wine, downloader=trainer["image"]), service("cellar"))
    quiet("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/cellar-predictor", "--timeout=120s")
    rows = WINE["dataframe_split"]["data"]
    tensor = {"name": "input-0", "shape": [1, len(COLUMNS)], "datatype": "FP64", "data": rows}

    v1 = asked(quiet, "cellar", "/v1/models/cellar:predict", {"instances": rows})
    v2 = asked(quiet, "cellar", "/v2/models/cellar/infer", {"inputs": [tensor]})

    expected = predict(quiet, "wine-quality")
    assert (v1["predictions"], v2["outputs"][0]["data"]) == ([expected], [expected])
    # Native loading, its comparison in a process beside it, and shared memory need no place to write to.
    quiet.until(
        lambda: "the model predicts the same as loaded by MLflow" in quiet("-n", COMPUTE, "logs", "cellar-predictor"),
        seconds=60,
    )
