"""Each NetworkPolicy of the manifests lets in and out what its row says, and nothing else: kube-router enforces them.

A new policy needs one row in TABLE, with an allowed connection for each of its ports. A connection is written
`source > target:port`, by TCP unless `/UDP` follows. Pods of the cluster and those of HELPERS have names in PODS;
`node` is the kubelet's side, `outside` a machine beside the cluster (as the API server of a hosted cluster is),
`public` an address of no private network, `dns` and `api-server` the cluster's own.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import try_connections
from testbed.cluster.components import SERVICES
from testbed.cluster.kube import Kube
from testbed.cluster.machine import Network, run
from testbed.cluster.workloads import COMPUTE, LOCKED, MLFLOW, PLATFORM, RUNTIME_IMAGE, USER

MANIFESTS = Path(__file__).parents[2] / "manifests"
SCRIPT = Path(try_connections.__file__).read_text()
NETWORK = Network(name="model-api")
MONITORING = "monitoring"
NAME = "app.kubernetes.io/name"
OF_THIS_HOST = ((NETWORK.public, 80), (NETWORK.public, 443), (NETWORK.outside, 443))
PORTS = (53, 80, 443, 5000, 6443, 8080)  # of the pods that only listen
LISTEN = """import socket, sys, time
kept = [socket.create_server(("", int(port)), backlog=1000) for port in sys.argv[1:]]
time.sleep(3600)"""
SECONDS = 90  # until the rules of a policy are in force, on a machine that does other things

Json = dict[str, Any]
Connection = tuple[str, str, int, str]  # source, target, port, protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The connections that a policy must let through, and those that neither it nor another one may.

    No forbidden connection is between two pods that one policy selects: kube-router 2.1 lets them out to each other at
    the ports at which the policy lets others in. `widens`: other rows forbid what this policy allows, so it is applied
    after them, and only its own row counts then.
    """

    allowed: Sequence[str]
    forbidden: Sequence[str]
    widens: bool = False

    @property
    def expected(self) -> Mapping["Connection", bool]:
        return {parsed(text): texts is self.allowed for texts in (self.allowed, self.forbidden) for text in texts}


TABLE: Mapping[str, Row] = {
    "model-api-webhook": Row(
        allowed=["outside > webhook:9443", "node > webhook:9443", "stranger > webhook:9443"],
        forbidden=["outside > webhook:8080", "stranger > webhook:8080", "webhook > mlflow:5000", "webhook > gate:5000"],
    ),
    "model-api-webhook-metrics": Row(
        allowed=["monitoring > webhook:8080"],
        forbidden=["domino > webhook:8080", "model > webhook:8080"],
    ),
    "model-api-webhook-certificates": Row(
        allowed=["webhook > api-server:443", "webhook > node:6443", "webhook > dns:53", "webhook > dns:53/UDP"],
        forbidden=["webhook > stranger:80", "webhook > stranger:8080", "webhook > public:80"],
    ),
    "model-api-gate": Row(
        allowed=[
            *("stranger > gate:5000", "model > gate:5000", "outside > gate:5000", "node > gate:5000"),
            *("gate > mlflow:5000", "gate > domino:80", "gate > dns:53", "gate > dns:53/UDP"),
        ],
        forbidden=["gate > stranger:443", "gate > stranger:5000", "gate > api-server:443", "gate > public:443"],
    ),
    "mlflow-from-gate-only": Row(
        allowed=["gate > mlflow:5000", "node > mlflow:5000"],
        forbidden=[f"{source} > mlflow:5000" for source in ("stranger", "model", "monitoring", "outside")],
    ),
    "model-api-gate-metrics": Row(
        allowed=["monitoring > gate:8080"],
        forbidden=["stranger > gate:8080", "model > gate:8080", "domino > gate:8080", "outside > gate:8080"],
    ),
    "model-api-gate-replicas": Row(
        allowed=["gate > replica:5000", "replica > gate:5000", "gate > api-server:443", "gate > node:6443"],
        forbidden=["gate > stranger:5000", "gate > public:80"],
        widens=True,
    ),
    "model-api-gate-issuers": Row(
        allowed=["gate > api-server:443", "gate > node:6443", "gate > public:443"],
        forbidden=["gate > stranger:5000", "gate > public:80"],
        widens=True,
    ),
    "model-api-to-mlflow": Row(
        allowed=["model > gate:5000", "model > dns:53", "model > dns:53/UDP"],
        forbidden=["model > stranger:5000", "model > domino:80", "model > api-server:443"],
    ),
    "model-api-to-object-stores": Row(
        allowed=["model > public:443", "model > gate:5000", "model > dns:53", "model > dns:53/UDP"],
        forbidden=["model > public:80", "model > stranger:443", "model > outside:443"],
    ),
}


def policies() -> dict[str, Json]:
    """Return each NetworkPolicy of the manifests by its name."""
    found: dict[str, Json] = {}
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()):
            if isinstance(thing, dict) and thing.get("kind") == "NetworkPolicy":
                name = thing["metadata"]["name"]
                assert name not in found, f"two policies are named {name}"
                found[name] = thing
    return found


POLICIES = policies()


def parsed(text: str) -> Connection:
    source, _, rest = text.partition(" > ")
    target, _, port = rest.partition(":")
    number, _, protocol = port.partition("/")
    return source, target, int(number), protocol or "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A pod of the table: that of a workload, or one that only listens."""

    namespace: str
    labels: Mapping[str, str]
    helper: bool = False


def gate_labels() -> Mapping[str, str]:
    """Return the labels of the gate's pods."""
    deployment = yaml.safe_load((MANIFESTS / "components" / "gate" / "deployment.yaml").read_text())
    labels: Mapping[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


PODS: Mapping[str, Place] = {
    "webhook": Place(namespace=PLATFORM, labels={NAME: "model-api-webhook"}),
    "mlflow": Place(namespace=MLFLOW, labels={NAME: "mlflow"}),
    "model": Place(namespace=COMPUTE, labels={NAME: "wine-quality"}),
    "gate": Place(namespace=MLFLOW, labels=gate_labels(), helper=True),
    "replica": Place(namespace=MLFLOW, labels=gate_labels(), helper=True),
    "domino": Place(namespace=PLATFORM, labels={NAME: "nucleus-frontend"}, helper=True),
    "monitoring": Place(namespace=MONITORING, labels={NAME: "prometheus"}, helper=True),
    "stranger": Place(namespace="default", labels={NAME: "stranger"}, helper=True),
}


def listener(name: str, place: Place) -> Json:
    """Return a pod that accepts connections on PORTS, of which two have the names that policies use."""
    ports = [{"name": "http", "containerPort": 5000}, {"name": "metrics", "containerPort": 8080}]
    container = {
        "name": "main",
        "image": RUNTIME_IMAGE,
        "command": ["python", "-c", LISTEN, *map(str, PORTS)],
        "ports": ports,
        "securityContext": LOCKED,
    }
    low_ports = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-listens", "namespace": place.namespace, "labels": dict(place.labels)},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": USER | {"sysctls": low_ports},
            "containers": [container],
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Pods by their names in the table, and by the name of each policy the connections that were made."""

    pods: Mapping[str, Json]
    made: Mapping[str, Mapping[Connection, bool]]


@pytest.fixture(scope="module")
def tried(installed: Kube) -> Iterator[Tried]:
    """Try the connections of the table: with all policies but those that widen others, then with each of those."""
    if not installed.ours:
        pytest.skip("only on the cluster of testbed.cluster is the firewall known, and this host beside the cluster")
    helpers = [listener(name, place) for name, place in PODS.items() if place.helper]
    there = {policy["metadata"]["name"] for policy in installed.items("networkpolicy", "--all-namespaces")}
    own = [policy for name, policy in POLICIES.items() if name not in there]
    installed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MONITORING}})
    try:
        installed.apply(*helpers, *(policy for policy in own if not is_widening(policy)))
        for pod in helpers:
            metadata = pod["metadata"]
            installed(
                "-n",
                metadata["namespace"],
                "wait",
                "--for=condition=Ready",
                f"pod/{metadata['name']}",
                "--timeout=240s",
            )
        pods = {name: pod_of(installed, name, place) for name, place in PODS.items()}
        with listening(*OF_THIS_HOST):
            first = {name: row for name, row in TABLE.items() if not row.widens}
            made = dict.fromkeys(first, as_expected(installed, pods, *first.values()))
            for name in TABLE.keys() - first.keys():
                installed.apply(POLICIES[name])
                made[name] = as_expected(installed, pods, TABLE[name])
                installed("-n", POLICIES[name]["metadata"]["namespace"], "delete", "networkpolicy", name)
            yield Tried(pods=pods, made=made)
    finally:
        for thing in (*own, *helpers):
            name = thing["metadata"]
            installed(
                "-n", name["namespace"], "delete", thing["kind"], name["name"], "--wait=false", "--ignore-not-found"
            )
        installed("delete", "namespace", MONITORING, "--wait=false")


@contextmanager
def listening(*addresses: tuple[str, int]) -> Iterator[None]:
    """Accept connections at addresses of this host for the length of a block."""
    with ExitStack() as stack:
        for place in addresses:
            stack.enter_context(socket.create_server(place, backlog=1000))
        yield


def is_widening(policy: Json) -> bool:
    name = policy["metadata"]["name"]
    return name in TABLE and TABLE[name].widens


def pod_of(kube: Kube, name: str, place: Place) -> Json:
    if place.helper:
        return kube.get("-n", place.namespace, "pod", f"{name}-listens")
    selector = ",".join(f"{label}={value}" for label, value in place.labels.items())
    pods = kube.items("-n", place.namespace, "pod", "-l", selector, "--field-selector=status.phase=Running")
    return next(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])


def as_expected(kube: Kube, pods: Mapping[str, Json], *rows: Row) -> Mapping[Connection, bool]:
    """Try the connections of the rows until each is as they say, or SECONDS have passed, and return the last result."""
    expected = {connection: allowed for row in rows for connection, allowed in row.expected.items()}
    deadline = time.monotonic() + SECONDS
    while (made := outcomes(kube, pods, list(expected))) != expected and time.monotonic() < deadline:
        time.sleep(1)
    return made


def outcomes(kube: Kube, pods: Mapping[str, Json], wanted: Sequence[Connection]) -> dict[Connection, bool]:
    """Return for each connection whether it was made."""
    made: dict[Connection, bool] = {}
    by_source = [[one for one in wanted if one[0] == source] for source in sorted({source for source, *_ in wanted})]
    with ThreadPoolExecutor(len(by_source)) as pool:
        for found in pool.map(lambda connections: outcomes_from(kube, pods, connections), by_source):
            made |= found
    return made


def outcomes_from(kube: Kube, pods: Mapping[str, Json], connections: Sequence[Connection]) -> dict[Connection, bool]:
    """Return whether the connections, which have one source, were made."""
    source = connections[0][0]
    targets = json.dumps([(address(pods, target), port, protocol) for _, target, port, protocol in connections])
    if source in pods:
        metadata = pods[source]["metadata"]
        answer = kube("-n", metadata["namespace"], "exec", metadata["name"], "--", "python", "-c", SCRIPT, targets)
    else:
        enter = NETWORK.enter if source == "node" else ()
        command = [*enter, sys.executable, "-c", SCRIPT, targets]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return dict(zip(connections, json.loads(answer), strict=True))


def address(pods: Mapping[str, Json], target: str) -> str:
    others = {
        "node": NETWORK.inside,
        "dns": NETWORK.inside,
        "outside": NETWORK.outside,
        "public": NETWORK.public,
        "api-server": SERVICES.replace(".0/24", ".1"),
    }
    return others[target] if target in others else str(pods[target]["status"]["podIP"])


def test_each_policy_of_the_manifests_has_a_row() -> None:
    assert POLICIES.keys() == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_policy_lets_through_what_it_must_and_nothing_else(tried: Tried, name: str) -> None:
    row, made = TABLE[name], tried.made[name]

    assert [text for text in row.allowed if not made[parsed(text)]] == []
    assert [text for text in row.forbidden if made[parsed(text)]] == []


@pytest.mark.parametrize("name", TABLE)
def test_row_has_a_connection_for_each_port_of_its_policy(tried: Tried, name: str) -> None:
    policy = POLICIES[name]
    selected = {found for found, pod in tried.pods.items() if is_selected(policy, pod)}
    allowed = [parsed(text) for text in TABLE[name].allowed]

    assert selected
    for rule in policy["spec"].get("ingress", []):
        for port in rule.get("ports", []):
            numbers = {number_of(port["port"], tried.pods[found]) for found in selected}
            assert [
                one for one in allowed if one[1] in selected and one[2] in numbers and one[3] == port["protocol"]
            ], port
    for rule in policy["spec"].get("egress", []):
        for port in rule.get("ports", []):
            assert [one for one in allowed if one[0] in selected and one[2:] == (port["port"], port["protocol"])], port


def is_selected(policy: Json, pod: Json) -> bool:
    labels = pod["metadata"]["labels"]
    wanted = policy["spec"]["podSelector"].get("matchLabels", {})
    return bool(policy["metadata"]["namespace"] == pod["metadata"]["namespace"] and wanted.items() <= labels.items())


def number_of(port: str | int, pod: Json) -> int | None:
    """Return the number of a port, which may be the name of a port of the pod's containers."""
    if isinstance(port, int):
        return port
    named = {
        found.get("name"): int(found["containerPort"])
        for container in pod["spec"]["containers"]
        for found in container.get("ports", [])
    }
    return named.get(port)


@pytest.mark.parametrize("name", TABLE)
def test_target_of_a_forbidden_connection_answers_another_source(name: str) -> None:
    """Without that, a connection might fail because nothing listens."""
    answered = {parsed(text)[1:] for row in TABLE.values() for text in row.allowed}
    answered |= {(found, port, "TCP") for found, place in PODS.items() if place.helper for port in PORTS}
    answered |= {("public", 80, "TCP"), ("outside", 443, "TCP")}  # OF_THIS_HOST

    assert [text for text in TABLE[name].forbidden if parsed(text)[1:] not in answered] == []


def test_pods_with_the_policy_of_object_stores_alone_reach_mlflow(installed: Kube, tried: Tried) -> None:
    """The component is also used without the overlay whose policy lets the same pods reach MLflow."""
    other = POLICIES["model-api-to-mlflow"]
    own = [parsed(text) for text in TABLE["model-api-to-object-stores"].allowed]
    installed("-n", COMPUTE, "delete", "networkpolicy", other["metadata"]["name"])
    try:
        installed.until(lambda: "nw policy model-api-to-mlflow" not in firewall_rules(), what="its rules are gone")
        made = outcomes_from(installed, tried.pods, own)
    finally:
        installed.apply(other)
    assert [connection for connection in own if not made[connection]] == []


def firewall_rules() -> str:
    return run(*NETWORK.enter, "iptables-save", "-t", "filter")
