"""The manifests of manifests/examples/autoscaling scale under a load that doubles, and no request is lost."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from testbed.cluster.kube import Kube
from testbed.controllers import scaling
from testbed.controllers.load import requests_at
from testbed.controllers.registry import Registry

EXAMPLES: Final = Path(__file__).parents[2] / "manifests" / "examples" / "autoscaling"
# A request of 500 rows takes some milliseconds of a processor, most of them to read it.
ROWS: Final = {"instances": [[7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]] * 500}
ROW_OF_SLOW: Final = {"instances": [[1.0]]}
REQUESTED: Final = 300  # thousandths of a processor
BUSY_RATE: Final = 20.0
# A call takes a twentieth of a second, in which three requests come, and six after the load has doubled.
QUEUE_RATE: Final = 60.0
GROWS_WITHIN, SHRINKS_WITHIN = 180, 240
QUEUE_DEPTH: Final = "model_api_runtime_queue_depth"
# Target by the first load's use, or queue: twice the load is 1.4 times the target, more than an HPA tolerates.
SHARE: Final = 1.4

Json = dict[str, Any]


@pytest.fixture(scope="session")
def metrics_server(sender: Kube) -> Kube:
    scaling.install_metrics_server(sender)
    return sender


@pytest.fixture(scope="session")
def keda(sender: Kube) -> Kube:
    scaling.install_keda(sender)
    return sender


@pytest.fixture(params=["inference-service", "deployment"])
def kind(request: pytest.FixtureRequest, models: Registry) -> str:
    """A kind of object that has the pods, ready to be made: a Deployment needs no KServe."""
    if request.param == "inference-service":
        request.getfixturevalue("with_kserve")
    found: str = request.param
    return found


def example(name: str, storage_uri: str = "mlflow://wine/3") -> list[Json]:
    """Return the objects of an example; the pods request less, since the node of the tests has two processors."""
    objects = list(yaml.safe_load_all((EXAMPLES / name).read_text().replace("mlflow://wine/3", storage_uri)))
    small = {"requests": {"cpu": f"{REQUESTED}m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    for found in objects:
        if found["kind"] == "InferenceService":
            found["spec"]["predictor"]["model"] |= {"resources": small, "args": ["--workers=1"]}
        elif found["kind"] == "Deployment":
            container = found["spec"]["template"]["spec"]["containers"][0]
            container["resources"] = small
            container["args"].append("--workers=1")
    return objects


@contextmanager
def applied(kube: Kube, objects: list[Json], deployment: str) -> Iterator[None]:
    """Have the objects and a ready Deployment for the length of a block."""
    kube.apply(*objects)
    try:
        kube.until(lambda: kube.attempt("get", "deployment", deployment).returncode == 0, seconds=30)
        kube.rolled_out("default", deployment)
        yield
    finally:
        kube("delete", "-f", "-", "--wait=true", given=yaml.safe_dump_all(objects))
        kube.until(lambda: not pods_of(kube, deployment), seconds=90, what="no pods")


def pods_of(kube: Kube, deployment: str) -> list[Json]:
    """Return the pods of a Deployment, also those that end."""
    return [found for found in kube.items("pod") if found["metadata"]["name"].startswith(f"{deployment}-")]


def ready_replicas(kube: Kube, deployment: str) -> int:
    count: int = kube.get("deployment", deployment)["status"].get("readyReplicas", 0)
    return count


def used(kube: Kube, deployment: str) -> int | None:
    """Return the thousandths of a processor that the only pod uses, once metrics-server has measured it."""
    measured = kube.attempt("top", "pod", "--no-headers")
    lines = [line.split() for line in measured.stdout.splitlines() if line.startswith(f"{deployment}-")]
    return int(lines[0][1].removesuffix("m")) if lines else None


def steady_use(kube: Kube, deployment: str) -> int:
    """Return the use under the first load: two measurements apart from each other that nearly agree."""
    earlier = 0
    while True:
        time.sleep(16)  # metrics-server measures every 15 s
        now = used(kube, deployment) or 0
        if now > 20 and abs(now - earlier) < 0.15 * now:
            return now
        earlier = now


def steady_depth(kube: Kube, service: str) -> float:
    """Return the requests that wait in the only pod under the first load, as KEDA reads them: the median of many."""
    path = f"/api/v1/namespaces/default/services/{service}:80/proxy/metrics"
    depths = []
    for _ in range(20):
        time.sleep(0.5)
        families = {family.name: family for family in text_string_to_metric_families(kube("get", "--raw", path))}
        depths.append(families[QUEUE_DEPTH].samples[0].value)
    return statistics.median(depths)


def grows_and_shrinks(kube: Kube, deployment: str, service: str, rate: float, body: Json) -> list[str]:
    """Double the load until there are two pods, halve it until there is one, and return the lost requests."""
    url = f"http://{service}/v1/models/wine:predict"
    with requests_at(kube, rate, url, body) as first:
        time.sleep(20)
        assert len(pods_of(kube, deployment)) == 1, "the first load is too much for one pod"
        with requests_at(kube, rate, url, body) as second:
            kube.until(lambda: ready_replicas(kube, deployment) == 2, seconds=GROWS_WITHIN, what="two pods")
            time.sleep(10)  # in which both pods have requests
        kube.until(lambda: len(pods_of(kube, deployment)) == 1, seconds=SHRINKS_WITHIN, what="one pod")
    assert min(first["sent"], second["sent"]) > rate
    return [*first["failures"], *second["failures"]]


def test_pods_that_come_and_go_lose_no_request(kind: str, sender: Kube) -> None:
    is_kserve = kind == "inference-service"
    deployment = "wine-predictor" if is_kserve else "wine"
    objects = example("inference-service-queue-depth.yaml")[:1] if is_kserve else example("deployment.yaml")
    with (
        applied(sender, objects, deployment),
        requests_at(sender, 2 * BUSY_RATE, f"http://{deployment}/v1/models/wine:predict", ROWS) as sent,
    ):
        for _ in range(2):
            sender("scale", f"deployment/{deployment}", "--replicas=2")
            sender.rolled_out("default", deployment)
            time.sleep(5)  # in which both pods have requests
            sender("scale", f"deployment/{deployment}", "--replicas=1")
            sender.until(lambda: len(pods_of(sender, deployment)) == 1, seconds=90, what="one pod")

    assert sent["failures"] == []
    assert sent["sent"] > 2 * BUSY_RATE


def test_pods_follow_processor_time_and_no_request_is_lost(kind: str, metrics_server: Kube) -> None:
    kube, is_kserve = metrics_server, kind == "inference-service"
    deployment = "wine-predictor" if is_kserve else "wine"
    objects = [*([] if is_kserve else example("deployment.yaml")), *example(f"{kind}-processor-time.yaml")]
    with applied(kube, objects, deployment):
        with requests_at(kube, BUSY_RATE, f"http://{deployment}/v1/models/wine:predict", ROWS):
            target = round(100 * SHARE * steady_use(kube, deployment) / REQUESTED)
        set_target(kube, is_kserve, target)
        lost = grows_and_shrinks(kube, deployment, deployment, BUSY_RATE, ROWS)

    assert lost == []


def set_target(kube: Kube, is_kserve: bool, percent: int) -> None:
    """Set the target so that it fits the speed of this machine."""
    if is_kserve:
        kube(
            "patch",
            "inferenceservice",
            "wine",
            "--type=merge",
            "-p",
            f"spec: {{predictor: {{scaleTarget: {percent}}}}}",
        )
        found = "wine-predictor"
    else:
        change = (
            f'[{{"op": "replace", "path": "/spec/metrics/0/resource/target/averageUtilization", "value": {percent}}}]'
        )
        kube("patch", "hpa", "wine", "--type=json", "-p", change)
        found = "wine"
    kube.until(
        lambda: kube.get("hpa", found)["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == percent
    )


def test_pods_follow_queue_depth_and_no_request_is_lost(kind: str, keda: Kube) -> None:
    is_kserve = kind == "inference-service"
    deployment = "wine-predictor" if is_kserve else "wine"
    slow = "mlflow://slow/1"
    deployed = [] if is_kserve else example("deployment.yaml", slow)
    *workload, scaled_object = deployed + example(f"{kind}-queue-depth.yaml", slow)
    with applied(keda, workload, deployment):
        with requests_at(keda, QUEUE_RATE, f"http://{deployment}/v1/models/wine:predict", ROW_OF_SLOW):
            time.sleep(5)
            target = SHARE * steady_depth(keda, deployment)  # so that it fits the speed of this machine
        scaled_object["spec"]["triggers"][0]["metadata"]["targetValue"] = f"{target:.1f}"
        keda.apply(scaled_object)
        try:
            lost = grows_and_shrinks(keda, deployment, deployment, QUEUE_RATE, ROW_OF_SLOW)
        finally:
            keda("delete", "scaledobject", "wine")

    assert lost == []
