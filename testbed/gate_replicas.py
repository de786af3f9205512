"""Several replicas of a gate as processes, with a Lease of a real API server that has no node.

Each replica reaches MLflow and the API server by proxies of its own: a test sees which replica has sent what, holds a
request back, or cuts a replica off.
"""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.cluster import binaries
from testbed.cluster.control_plane import HERE, ControlPlane
from testbed.cluster.machine import run
from testbed.gate import MODULES, Gate, ask, credentials
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, Process, free_port, installed
from testbed.reverse_proxy import Exchange, ReverseProxy, reverse_proxy
from testbed.tcp_proxy import TcpProxy, tcp_proxy

MANIFESTS: Final = Path(__file__).parents[1] / "manifests"
NAMESPACE: Final = "mlflow-efs"
NAME: Final = "model-api-gate"
LEASE_SECONDS: Final = 6  # of which a change may take 3
OF_REPLICAS: Final = (*MODULES, "tracking_gate.replicas.gate")
NUMBERS: Final = itertools.count(1)
PATHS: Final = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}
OVERLAY: Final = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{overlay}]
components: [{component}]
"""

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Requests of one replica to MLflow: the changes as (seconds, path, body), and those that a test holds back.

    A request with `held` in its path waits for `go`; with `after`, MLflow has answered it by then. `made` are the
    bodies of moves that MLflow has made.
    """

    sent: list[tuple[float, str, bytes]] = field(default_factory=list)
    made: list[Json] = field(default_factory=list)
    held: str = "\0"
    after: bool = False
    arrived: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def rule(self, exchange: Exchange) -> bool:
        holds = self.held in exchange.path
        if exchange.command != "GET" and "/search" not in exchange.path:
            self.sent.append((time.monotonic(), exchange.path, exchange.body))
        if holds and not self.after:
            self.arrived.set()
            self.go.wait(PATIENCE)
        if "transition-stage" not in exchange.path and not (holds and self.after):
            return False
        with exchange.upstream(exchange.body) as real:
            status, body = real.status, real.read()
        if status == HTTPStatus.OK and "transition-stage" in exchange.path:
            self.made.append(json.loads(exchange.body))
        if holds and self.after:
            self.arrived.set()
            self.go.wait(PATIENCE)
        exchange.send(status, body, {"Content-Type": "application/json"})
        return True


@dataclass(slots=True, kw_only=True)
class ReplicaProcess:
    """One replica, with its proxies. `metrics` is the address of its metrics."""

    name: str
    command: Sequence[str | Path]
    gate: Gate
    upstream: ReverseProxy
    traffic: Traffic
    api: TcpProxy
    metrics: str

    def freeze(self) -> None:
        self.gate.process.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.gate.process.popen.send_signal(signal.SIGCONT)

    def start(self) -> None:
        """Start it again, as the kubelet starts a container again in its pod."""
        log = self.gate.process.log
        process = Process.start(self.command, log=log, env=os.environ, cwd=log.parent, imported=OF_REPLICAS)
        self.gate = replace(self.gate, process=process)

    def stop(self) -> None:
        """End it, also if it is frozen."""
        if self.gate.process.popen.poll() is None:
            self.thaw()
        self.gate.process.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseNamespace:
    """A namespace with the objects of the component, and the mounted service account of a replica."""

    plane: ControlPlane
    name: str
    account: Path

    @property
    def path(self) -> str:
        """The path of the Lease at the API server."""
        return f"{PATHS['Lease'].format(self.name)}/{NAME}"

    def lease(self) -> Json:
        found: Json = self.plane.client.get(self.path).raise_for_status().json()
        return found


def objects(folder: Path, name: str = "gate") -> list[Json]:
    """Return what an overlay of the gate applies with several replicas."""
    text = OVERLAY.format(
        overlay=os.path.relpath(MANIFESTS / "overlays" / name, folder.resolve()),
        component=os.path.relpath(MANIFESTS / "components" / "gate-replicas", folder.resolve()),
    )
    (folder / "kustomization.yaml").write_text(text)
    return list(yaml.safe_load_all(run(binaries.build() / "kubectl", "kustomize", folder)))


def lease_namespace(plane: ControlPlane, folder: Path) -> LeaseNamespace:
    """Make a new namespace with the Lease, and the rights on it, of the component `gate-replicas`."""
    name = f"{NAMESPACE}-{next(NUMBERS)}"
    plane.create("/api/v1/namespaces", {"metadata": {"name": name}})
    overlay, account = folder / "overlay", folder / "account"
    overlay.mkdir(parents=True)
    account.mkdir()
    for one in objects(overlay):
        if one["kind"] in PATHS:
            moved = json.loads(json.dumps(one).replace(f'"namespace": "{NAMESPACE}"', f'"namespace": "{name}"'))
            plane.create(PATHS[one["kind"]].format(name), moved)
    path = f"{PATHS['ServiceAccount'].format(name)}/{NAME}/token"
    token = plane.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    (account / "token").write_text(token)
    (account / "ca.crt").write_bytes((plane.kubeconfig.parent / "ca.crt").read_bytes())
    return LeaseNamespace(plane=plane, name=name, account=account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Running replicas of one gate. `token` and others of `gates` are alike in all of them."""

    namespace: LeaseNamespace
    all: Sequence[ReplicaProcess]

    @property
    def gates(self) -> list[Gate]:
        return [one.gate for one in self.all]

    def holder(self) -> ReplicaProcess | None:
        """Return the replica that the Lease names."""
        identity = str(self.namespace.lease()["spec"].get("holderIdentity") or "")
        return next((one for one in self.all if identity.startswith(f"{one.name}.")), None)

    def leader(self, *, other_than: ReplicaProcess | None = None) -> ReplicaProcess:
        """Wait until a replica makes changes, and return it."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            found = self.holder()
            if found and found is not other_than and value(found, "leader") == 1:
                return found
            time.sleep(0.05)
        raise TimeoutError("no replica makes changes")

    def follower(self) -> ReplicaProcess:
        leader = self.leader()
        return next(one for one in self.all if one is not leader and one.gate.process.popen.poll() is None)

    def lines(self) -> list[Json]:
        return [line for one in self.all for line in one.gate.lines()]


def value(replica: ReplicaProcess, name: str) -> float:
    """Return a metric of a replica."""
    for line in ask(replica.metrics, "GET", "/metrics").body.decode().splitlines():
        series, _, number = line.rpartition(" ")
        if series == f"model_api_gate_{name}":
            return float(number)
    raise KeyError(name)


@contextmanager
def replicas(
    server: MlflowServer,
    plane: ControlPlane,
    directory: Path,
    *options: str,
    count: int = 2,
    lease_seconds: int = LEASE_SECONDS,
) -> Iterator[Replicas]:
    """Run replicas for the length of a `with` block."""
    secret_dir, people = credentials(directory)
    namespace = lease_namespace(plane, directory)
    with ExitStack() as stack:
        found = []
        for number in range(count):
            traffic = Traffic()
            upstream = stack.enter_context(reverse_proxy(server.uri, traffic.rule))
            api = stack.enter_context(tcp_proxy((HERE, plane.client.base_url.port or 443)))
            name, port, metrics = f"gate-{number}", free_port(), free_port()
            audit = directory / f"{name}.jsonl"
            command: list[str | Path] = [
                installed("model-api-gate"),
                "serve",
                f"--upstream={upstream.uri}",
                f"--secret-dir={secret_dir}",
                f"--people-file={people}",
                f"--audit-log={audit}",
                "--host=127.0.0.1",
                f"--port={port}",
                f"--metrics-port={metrics}",
                "--attempts=100000",
                f"--lease={namespace.name}/{NAME}",
                f"--lease-seconds={lease_seconds}",
                f"--replica={name}",
                "--replica-address=127.0.0.1",
                f"--kubernetes-url=https://{HERE}:{api.port}",
                f"--service-account={namespace.account}",
                *options,
            ]
            log = directory / f"{name}.log"
            process = Process.start(command, log=log, env=os.environ, cwd=directory, imported=OF_REPLICAS)
            uri = f"http://127.0.0.1:{port}"
            gate = Gate(uri=uri, server=server, secret_dir=secret_dir, audit=audit, process=process)
            one = ReplicaProcess(
                name=name,
                command=command,
                gate=gate,
                upstream=upstream,
                traffic=traffic,
                api=api,
                metrics=f"http://127.0.0.1:{metrics}",
            )
            stack.callback(one.stop)
            found.append(one)
        for one in found:
            one.gate.process.wait_for_http(f"{one.gate.uri}/readyz")
        yield Replicas(namespace=namespace, all=found)
