"""The manifests that scale name what is there: Deployments, Services, ports, and a metric of the runtime."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from serving_runtime.observability.metrics import METRICS
from serving_runtime.settings import DRAIN_DELAY_IN_KUBERNETES, read_settings

EXAMPLES = Path(__file__).parents[1] / "manifests" / "examples" / "autoscaling"
SCALED_OBJECTS = ["deployment-queue-depth.yaml", "inference-service-queue-depth.yaml"]
SETTINGS = read_settings({}, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, cpus=1)


def objects(name: str) -> dict[str, Any]:
    """Return the objects of a file by their kinds."""
    return {found["kind"]: found for found in yaml.safe_load_all((EXAMPLES / name).read_text())}


def scaled(name: str) -> str:
    """Return the name of the Deployment that a file scales: its own, or the one that KServe makes."""
    own = objects(name).get("InferenceService")
    return (
        f"{own['metadata']['name']}-predictor"
        if own
        else str(objects("deployment.yaml")["Deployment"]["metadata"]["name"])
    )


@pytest.mark.parametrize("name", SCALED_OBJECTS)
def test_queue_is_read_from_the_pods_of_the_scaled_deployment(name: str) -> None:
    spec = objects(name)["ScaledObject"]["spec"]
    (trigger,) = (entry["metadata"] for entry in spec["triggers"])
    url = urlsplit(trigger["url"])
    container = objects("deployment.yaml")["Deployment"]["spec"]["template"]["spec"]["containers"][0]

    assert spec["scaleTargetRef"] == {"name": scaled(name)}
    assert url.hostname == f"{scaled(name)}.default.svc"
    assert [url.port] == [port["containerPort"] for port in container["ports"]]
    assert objects("deployment.yaml")["Service"]["metadata"]["name"] == scaled("deployment-queue-depth.yaml")


@pytest.mark.parametrize("name", SCALED_OBJECTS)
def test_queue_is_a_gauge_of_the_runtime_and_its_target_is_below_the_limit(name: str) -> None:
    (trigger,) = (entry["metadata"] for entry in objects(name)["ScaledObject"]["spec"]["triggers"])

    assert trigger["valueLocation"] in {
        metric.name for metric in METRICS if metric.kind == "gauge" and not metric.labels
    }
    assert float(trigger["targetValue"]) < SETTINGS.max_queue / 4


def test_processor_time_scales_the_deployment() -> None:
    target = objects("deployment-processor-time.yaml")["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]

    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": scaled("deployment-processor-time.yaml")}


def test_pod_has_more_time_to_end_than_the_runtime_takes() -> None:
    pod = objects("deployment.yaml")["Deployment"]["spec"]["template"]["spec"]

    assert SETTINGS.drain_delay == float(DRAIN_DELAY_IN_KUBERNETES) > 0
    assert pod["terminationGracePeriodSeconds"] > SETTINGS.drain_delay + SETTINGS.stop_timeout
