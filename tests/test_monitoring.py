"""Alerts and dashboards match the metrics of the processes: names, labels, and values of closed labels."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tracking_gate.metrics import DOMINO_ANSWERS, reasons
from tracking_gate.metrics import Metrics as GateMetrics
from tracking_gate.secret_directory import SecretDirectory
from webhook.server.metrics import Metrics as WebhookMetrics

COMPONENTS = Path(__file__).parents[1] / "manifests" / "components"
RULES = sorted(COMPONENTS.glob("*/prometheus-rule.yaml"))
DASHBOARDS = sorted(COMPONENTS.glob("*/dashboard.json"))
METRIC = re.compile(r"\b((?:model_api|process|apiserver)_[a-z_]+)(\{[^}]*\})?")
GROUPED = re.compile(r"by \(([^)]*)\)")
# Of the API server, and of the target that the operator makes of a Service.
OTHERS = {
    "apiserver_admission_webhook_fail_open_count": {"name"},
    "apiserver_admission_webhook_admission_duration_seconds_bucket": {"name", "le"},
}
TARGET = {"service", "pod", "namespace"}
VALUES = {
    "decision": {"allow", "cut", "deny", "forward", "noop", "unknown"},
    "reason": set(reasons()),
    "result": set(DOMINO_ANSWERS),
    "kind": {"ask", "stream"},
}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return every series that a process may have, and its labels."""
    gate = GateMetrics()
    gate.watch(SecretDirectory(tmp_path_factory.mktemp("tokens")))
    return series(gate.registry) | series(WebhookMetrics().registry) | OTHERS


def series(registry: CollectorRegistry) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:
        for metric in collector.collect():
            labels = set(getattr(collector, "_labelnames", getattr(metric, "_labelnames", ())))
            names = {sample.name for sample in metric.samples} | {metric.name, f"{metric.name}_total"}
            if metric.type == "histogram":
                names |= {f"{metric.name}_{end}" for end in ("bucket", "count", "sum")}
            if metric.type == "counter":
                names.discard(metric.name)
            found |= {name: labels | ({"le"} if name.endswith("_bucket") else set()) for name in names}
    return found


def queries(path: Path) -> dict[str, str]:
    if path.suffix == ".yaml":
        groups = yaml.safe_load(path.read_text())["spec"]["groups"]
        return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
    panels = json.loads(path.read_text())["panels"]
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}


QUERIES = [(path, name, query) for path in [*RULES, *DASHBOARDS] for name, query in queries(path).items()]


@pytest.mark.parametrize(
    ("path", "name", "query"), QUERIES, ids=[f"{path.parent.name}: {name}" for path, name, _ in QUERIES]
)
def test_query_asks_for_what_there_is(metrics: dict[str, set[str]], path: Path, name: str, query: str) -> None:
    asked = METRIC.findall(query)

    assert asked, query
    labels = set()
    for metric, selector in asked:
        assert metric in metrics, metric
        labels |= metrics[metric] | TARGET
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector):
            assert label in metrics[metric] | TARGET, (metric, label)
            assert operator != "=" or value in VALUES.get(label, {value}), (label, value)
    grouped = {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
    assert grouped <= labels


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.parent.name)
def test_every_panel_has_a_title_a_place_and_the_chosen_source(path: Path) -> None:
    board: dict[str, Any] = json.loads(path.read_text())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]

    assert len(set(places)) == len(places) >= 10
    for panel in board["panels"]:
        assert panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${source}"}
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.parent.name)
def test_every_alert_says_what_it_means_and_how_bad_it_is(path: Path) -> None:
    for group in yaml.safe_load(path.read_text())["spec"]["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}
            assert rule["annotations"]["summary"].endswith((".", '"'))
