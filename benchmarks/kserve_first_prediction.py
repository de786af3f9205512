"""Time from an InferenceService that is applied to its first prediction: this project's runtime, and KServe's own.

KServe's own are its storage initializer and its server of scikit-learn models. Both have the same model, KServe's as a
file of joblib on a file server, this project's in MLflow. It needs a cluster, as the tests in `tests/full` do; one that
was not there before is gone afterwards.
"""

import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import describe
from testbed.cluster import images
from testbed.cluster.binaries import CACHE
from testbed.cluster.kube import Kube, KubectlError, cluster, load_image, unavailable_reason
from testbed.cluster.workloads import LOCKED, USER
from testbed.controllers import kserve, registry

HERE: Final = Path(__file__).parent
COMPONENT: Final = HERE.parent / "manifests" / "components" / "kserve"
REQUIREMENTS: Final = HERE.parent / "testbed" / "requirements" / "peer-kserve-sklearn.txt"
PEER: Final = f"{images.HUB}/kserve-sklearnserver:test"
SERVICES: Final = 5
FILES: Final = "files"
# The runtime's image has scikit-learn of the version that the peer has.
SERVE_FILE: Final = """
import http.server, os, joblib, numpy as np
from sklearn.linear_model import ElasticNet
random = np.random.default_rng(1)
rows = random.normal(size=(1600, 11))
joblib.dump(ElasticNet(alpha=0.05).fit(rows, rows[:, 0]), "/tmp/model.joblib")
os.chdir("/tmp")
http.server.test(http.server.SimpleHTTPRequestHandler, http.server.ThreadingHTTPServer, port=8080)
"""
ROW: Final = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]
SMALL: Final = {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
MODELS: Final = {
    "this project": {"modelFormat": {"name": "mlflow"}, "storageUri": "mlflow://wine/3"},
    "KServe": {"modelFormat": {"name": "sklearn"}, "storageUri": f"http://{FILES}.default.svc/model.joblib"},
}

Json = dict[str, Any]


def main() -> int:
    print(describe())
    if reason := unavailable_reason():
        print(f"left out: {reason}")
        return 0
    with cluster() as kube:
        prepare(kube)
        measured: dict[str, list[float]] = {name: [] for name in MODELS}
        for number in range(SERVICES):
            for name, model in MODELS.items():
                measured[name].append(first_prediction(kube, f"first-{number}", model))
    for name, seconds in measured.items():
        print(
            f"{name:13} applied to first prediction: median {statistics.median(seconds):.2f} s, from"
            f" {min(seconds):.2f} to {max(seconds):.2f} s of {SERVICES}"
        )
    return 0


def prepare(kube: Kube) -> None:
    """Install MLflow, KServe, this project's component, and the peer's image and file."""
    registry.install(kube)
    kserve.install(kube)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlflow-credentials"}}
    kube.apply(secret | {"stringData": {"MLFLOW_TRACKING_URI": registry.ADDRESS}})
    for name in ("cluster-serving-runtime.yaml", "cluster-storage-container.yaml"):
        kube("apply", "--filename", COMPONENT / name)
    build_peer()
    load_image(kube, PEER)
    container = [{"op": "replace", "path": "/spec/containers/0/image", "value": PEER}]
    kube("patch", "clusterservingruntime", "kserve-sklearnserver", "--type=json", "-p", json.dumps(container))
    initializer = {"image": PEER, "command": ["python", "/storage-initializer/scripts/initializer-entrypoint"]}
    change = {"spec": {"container": {"name": "storage-initializer", **initializer}}}
    kube("patch", "clusterstoragecontainer", "default", "--type=merge", "-p", json.dumps(change))
    kube.apply(*file_server())
    kube("wait", "--for=condition=Ready", f"pod/{FILES}", "--timeout=120s")


def build_peer() -> None:
    if images.exists(PEER):
        return
    context = CACHE / "images" / "kserve-sklearnserver"
    shutil.rmtree(context, ignore_errors=True)
    source = kserve.RELEASE.source() / "python"
    shutil.copytree(
        source / "sklearnserver" / "sklearnserver", context / "sklearnserver", copy_function=shutil.copyfile
    )
    shutil.copytree(source / "storage-initializer" / "scripts", context / "scripts")
    shutil.copy(REQUIREMENTS, context / "requirements.txt")
    images.podman(
        "build", "--network=host", "--pull=never", *images.trust(), f"--file={HERE}/peers/kserve_sklearn.Dockerfile",
        f"--tag={PEER}", context,
    )  # fmt: skip
    shutil.rmtree(context)


def file_server() -> list[Json]:
    """Return a pod that trains a model and serves its file, and the Service of it."""
    metadata = {"name": FILES, "labels": {"app": FILES}}
    container = {
        "name": "main",
        "image": "model-api-runtime:0.1.0-sklearn",
        "command": ["python", "-c", SERVE_FILE],
        "securityContext": LOCKED,
        "readinessProbe": {"httpGet": {"path": "/model.joblib", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  a volume of its own
    }
    spec = {"securityContext": USER, "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    service = {"selector": {"app": FILES}, "ports": [{"port": 80, "targetPort": 8080}]}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": FILES}, "spec": service},
    ]


def first_prediction(kube: Kube, name: str, model: Json) -> float:
    """Return the seconds until the Service of a new InferenceService has answered."""
    spec = {"predictor": {"model": model | {"resources": SMALL}}}
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name}}
    began = time.perf_counter()
    kube.apply(service | {"spec": spec})
    kube.until(lambda: predicts(kube, name), seconds=180, what="a prediction")
    seconds = time.perf_counter() - began
    kube("delete", "inferenceservice", name)
    kube("wait", "--for=delete", "pod", "-l", f"serving.kserve.io/inferenceservice={name}", "--timeout=90s")
    return seconds


def predicts(kube: Kube, name: str) -> bool:
    """Ask the first port of the Service, which KServe names as the container does."""
    try:
        ports = kube.get("service", f"{name}-predictor")["spec"]["ports"]
        path = f"/api/v1/namespaces/default/services/{name}-predictor:{ports[0].get('name', 80)}/proxy"
        answer = kube.post(f"{path}/v1/models/{name}:predict", {"instances": [ROW]})
    except KubectlError:
        return False
    return len(answer["predictions"]) == 1


if __name__ == "__main__":
    sys.exit(main())
