"""Time of a model pod on a cluster from its creation to its first prediction, and its init container's share.

It needs a cluster, as the tests in `tests/cluster` do, with the quickstart in it or nothing; one that was not there
before is gone afterwards.
"""

import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from model_contract.model_ref import ModelRef
from model_contract.names import INIT_CONTAINER
from testbed.cluster.kube import Kube, KubectlError, cluster, unavailable_reason
from testbed.cluster.workloads import COMPUTE, PLATFORM, literals, model_pod, plain_pod

QUICKSTART: Final = Path(__file__).parent.parent / "manifests" / "overlays" / "quickstart"
NAME: Final = "ten-megabytes"
PODS: Final = 10
FETCHED: Final = re.compile(r'seconds"?[=:] ?"?([\d.]+)')
# Nearest neighbours keep their data: 100,000 rows of 12 columns, 9.6 MB.
TRAIN: Final = f"""
import json, os, warnings
import mlflow, numpy as np
from sklearn.neighbors import KNeighborsRegressor
warnings.simplefilter("ignore")
random = np.random.default_rng(1)
with mlflow.start_run() as run:
    model = KNeighborsRegressor(algorithm="brute").fit(random.normal(size=(100_000, 11)), random.normal(size=100_000))
    logged = mlflow.sklearn.log_model(model, name="model", registered_model_name="{NAME}", serialization_format="skops")
print(json.dumps({{"version": str(logged.registered_model_version), "run_id": run.info.run_id}}))
"""
ROWS: Final = {"inputs": [[0.0] * 11]}


def main() -> int:
    print(describe())
    if reason := unavailable_reason():
        print(f"left out: {reason}")
        return 0
    with cluster() as kube:
        kube("apply", "-k", QUICKSTART)
        kube.rolled_out(PLATFORM, "model-api-webhook")
        kube("-n", COMPUTE, "wait", "--for=condition=Complete", "job/train-wine-quality", "--timeout=180s")
        kube.rolled_out(COMPUTE, "wine-quality")
        ref = trained(kube)
        measured = [first_prediction(kube, ref) for _ in range(PODS)]
    for what, seconds in zip(
        ("applied to first prediction", "fetch, by its own clock"), zip(*measured, strict=True), strict=True
    ):
        print(
            f"{what:28} median {statistics.median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f} s of"
            f" {PODS}"
        )
    return 0


def trained(kube: Kube) -> ModelRef:
    """Register a model of 10 MB in the cluster's MLflow, by a pod."""
    pod = plain_pod("train-ten-megabytes", COMPUTE)
    container = pod["spec"]["containers"][0]
    container |= {
        "command": ["python", "-c", TRAIN],
        "env": [
            {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.mlflow-efs.svc:5000"},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108  a volume of its own
        ],
        "workingDir": "/tmp",  # noqa: S108
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    pod["spec"] |= {"restartPolicy": "Never", "volumes": [{"name": "tmp", "emptyDir": {}}]}
    kube("-n", COMPUTE, "delete", "pod", "train-ten-megabytes", "--ignore-not-found")
    kube.apply(pod)
    kube("-n", COMPUTE, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/train-ten-megabytes", "--timeout=120s")
    made = json.loads(kube("-n", COMPUTE, "logs", "train-ten-megabytes").splitlines()[-1])
    kube("-n", COMPUTE, "delete", "pod", "train-ten-megabytes")
    return ModelRef(name=NAME, owner="jane.doe", version=made["version"], run_id=made["run_id"])


def first_prediction(kube: Kube, ref: ModelRef) -> tuple[float, float]:
    """Return the seconds until a pod has answered, and those of its fetch."""
    began = time.perf_counter()
    pod = model_pod("first-prediction", [])
    pod["spec"]["containers"][0]["env"] = literals(ref)  # the loader is the one of a user's pod
    kube.apply(pod)
    kube.until(lambda: predicts(kube), seconds=60, pause=0.2)
    seconds = time.perf_counter() - began
    log = kube("-n", COMPUTE, "logs", "first-prediction", "-c", INIT_CONTAINER)
    found = FETCHED.findall(log)
    kube("-n", COMPUTE, "delete", "pod", "first-prediction", "--wait=true")
    return seconds, float(found[-1])


def predicts(kube: Kube) -> bool:
    try:
        answer = kube.post(f"/api/v1/namespaces/{COMPUTE}/pods/first-prediction:8080/proxy/invocations", ROWS)
    except KubectlError:
        return False
    return len(answer["predictions"]) == 1


if __name__ == "__main__":
    sys.exit(main())
