"""The objects of the components for monitoring, on the Prometheus operator's own controller and under NetworkPolicies.

The alerts and queries themselves are tested in `test_alerts.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from testbed.cluster.kube import Kube
from testbed.cluster.workloads import MLFLOW, scale_webhook
from testbed.controllers.prometheus import NAMESPACE, SERVICE, install_operator
from testbed.prometheus_server import queries, rules, shortened_rule
from tests.cluster.test_gate import GATE, Gated, gated  # noqa: F401  a fixture

COMPONENTS = Path(__file__).parents[2] / "manifests" / "components"
MONITORED = ("monitoring", "gate-monitoring")
PODS = {"model-api-webhook": 2, "model-api-gate": 1}
PATH = f"/api/v1/namespaces/{NAMESPACE}/services/{SERVICE}:web/proxy/api/v1"

Json = dict[str, Any]


def objects(component: str) -> list[Json]:
    """Return the objects of a component for monitoring, but for its dashboard."""
    files = sorted((COMPONENTS / component).glob("*.yaml"))
    return [yaml.safe_load(file.read_text()) for file in files if file.name != "kustomization.yaml"]


@pytest.fixture(scope="module")
def monitored(gated: Gated) -> Iterator[Kube]:  # noqa: F811  the fixture
    """The cluster with webhook, gate, the operator, a Prometheus of it, and both components."""
    kube = gated.kube
    scale_webhook(kube, PODS["model-api-webhook"])
    install_operator(kube)
    for component in MONITORED:
        kube.apply(*objects(component))
    yield kube
    for component in MONITORED:
        for thing in objects(component):
            kube("-n", thing["metadata"]["namespace"], "delete", thing["kind"], thing["metadata"]["name"])


def asked(kube: Kube, path: str) -> Json:
    found: Json = json.loads(kube("get", "--raw", f"{PATH}/{path}"))["data"]
    return found


def healthy_targets(kube: Kube) -> dict[str, int]:
    """Return the number of pods that Prometheus reads, by their Service."""
    found = dict.fromkeys(PODS, 0)
    for target in asked(kube, "targets?state=active")["activeTargets"]:
        service = target["labels"].get("service")
        if service in found and target["health"] == "up":
            found[service] += 1
    return found


def test_prometheus_reads_each_pod_past_the_network_policies(monitored: Kube) -> None:
    monitored.until(lambda: healthy_targets(monitored) == PODS, seconds=180, what="each pod is read")


def test_operator_takes_every_rule_as_it_is(monitored: Kube) -> None:
    def loaded() -> dict[str, str]:
        return {
            rule["name"]: rule["health"] for group in asked(monitored, "rules")["groups"] for rule in group["rules"]
        }

    monitored.until(lambda: loaded() == dict.fromkeys(rules(), "ok"), seconds=180, what="each rule is evaluated")


def test_prometheus_takes_every_query_of_the_dashboards(monitored: Kube) -> None:
    """A query that Prometheus does not understand is an error; which of them have data is tested without a cluster."""
    for query in queries().values():
        asked(monitored, f"query?query={quote(query.replace('$__rate_interval', '2m'))}")


def test_alert_of_a_gate_that_is_away_fires_in_the_cluster(monitored: Kube, gated: Gated) -> None:  # noqa: F811
    rule = shortened_rule(rules()["ModelApiGateAway"])
    thing = next(thing for thing in objects("gate-monitoring") if thing["kind"] == "PrometheusRule")
    thing["metadata"]["name"] = "shortened"
    thing["spec"]["groups"] = [{"name": "shortened", "rules": [rule | {"alert": "ShortenedGateAway"}]}]

    def firing() -> bool:
        alerts = [found for found in asked(monitored, "alerts")["alerts"] if found["state"] == "firing"]
        return "ShortenedGateAway" in {found["labels"]["alertname"] for found in alerts}

    monitored.apply(thing)
    monitored("-n", MLFLOW, "scale", f"deployment/{GATE}", "--replicas=0")
    try:
        monitored.until(firing, seconds=240, what="the alert fires")
    finally:
        monitored("-n", MLFLOW, "delete", "prometheusrule", "shortened")
        monitored("-n", MLFLOW, "scale", f"deployment/{GATE}", "--replicas=1")
        monitored.rolled_out(MLFLOW, GATE)
    assert gated.pods()
