"""`model-api rollout` against the controllers of Kubernetes. The kubelet's part is played by the test: without a node,
it makes each pod ready whose version is good.
"""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from model_lifecycle.cluster import client_of
from model_lifecycle.rollout.cluster_objects import ClusterObjects
from testbed.cluster.control_plane import ControlPlane, control_plane, deployment_controllers
from testbed.former_version import Version, former_version, this_version
from testbed.gate import API, ask
from testbed.http_server import in_thread
from testbed.lifecycle import MODULES
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, Process, completed, installed
from testbed.reverse_proxy import Exchange, reverse_proxy

Json = dict[str, Any]

DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/default/deployments"
PODS: Final = "/api/v1/namespaces/default/pods"
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
MODEL: Final = "rolled"
NUMBERS: Final = itertools.count(1)
GATEWAY: Final = "gateway.networking.k8s.io"
ROUTES: Final = f"/apis/{GATEWAY}/v1/namespaces/default/httproutes"
ANY_OBJECT: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
HTTP_ROUTE: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": f"httproutes.{GATEWAY}",
        "annotations": {"api-approved.kubernetes.io": "unapproved, of a test"},
    },
    "spec": {
        "group": GATEWAY,
        "names": {"plural": "httproutes", "singular": "httproute", "kind": "HTTPRoute", "listKind": "HTTPRouteList"},
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANY_OBJECT}}],
    },
}
BAD: Final = "3"  # a version whose pods never get ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """A cluster without a node, and a registry whose model has the versions 1, 2, BAD and 4."""

    plane: ControlPlane
    folder: Path
    tracking: str
    runs: Mapping[str, str]

    def deploy(self, name: str) -> None:
        """Make a Deployment of version 1."""
        variables = {
            "MLFLOW_MODEL_NAME": MODEL,
            "MLFLOW_MODEL_OWNER": "jane.doe",
            "MLFLOW_MODEL_VERSION": "1",
            "MLFLOW_RUN_ID": self.runs["1"],
        }
        env = [{"name": key, "value": value} for key, value in variables.items()]
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "model", "image": "model", "env": env}]},
        }
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template}
        self.plane.create(
            DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        )
        self.until(lambda: self.available(name))

    def start(
        self,
        name: str,
        *options: str,
        version: str = "2",
        by: Version = this_version(),  # noqa: B008  a constant
        kubeconfig: Path | None = None,
    ) -> Process:
        command = [by.command("model-api"), *arguments(name, version), "--no-call", *options]
        log, env = self.folder / f"{name}-{next(NUMBERS)}.log", self.environment(kubeconfig)
        return Process.start(command, log=log, env=env, imported=by.imported("model-api"))

    def run(self, name: str, *options: str, version: str = "2", calls: bool = False) -> tuple[int, str, str]:
        """Return the exit code and both outputs."""
        command = [installed("model-api"), *arguments(name, version), *([] if calls else ["--no-call"]), *options]
        done = completed(command, env=self.environment(), imported=MODULES, timeout=2 * PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        own = {"KUBECONFIG": str(kubeconfig or self.plane.kubeconfig), "MLFLOW_TRACKING_URI": self.tracking}
        return os.environ | own

    def get(self, path: str) -> Json:
        found: Json = self.plane.client.get(path).raise_for_status().json()
        return found

    def version(self, name: str) -> str:
        """Return the version that the Deployment wants."""
        container = self.get(f"{DEPLOYMENTS}/{name}")["spec"]["template"]["spec"]["containers"][0]
        return str(next(one["value"] for one in container["env"] if one["name"] == "MLFLOW_MODEL_VERSION"))

    def set_version(self, name: str, version: str) -> None:
        """Change the Deployment as another program would."""
        env = [{"name": "MLFLOW_MODEL_VERSION", "value": version}]
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "model", "env": env}]}}}}
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        self.plane.client.patch(f"{DEPLOYMENTS}/{name}", json=patch, headers=headers).raise_for_status()

    def available(self, name: str) -> bool:
        found = self.get(f"{DEPLOYMENTS}/{name}")
        status = found.get("status", {})
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("replicas") == status.get("updatedReplicas") == status.get("availableReplicas") == 2
        )

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.1)


def arguments(name: str, version: str) -> list[str]:
    return ["rollout", f"deployment/{name}", "--model", MODEL, "--version", version, "--format=json"]


def ended(process: Process) -> tuple[int, str]:
    """Return the exit code and what was written."""
    code = process.popen.wait(2 * PATIENCE)
    return code, process.log.read_text()


@pytest.fixture(scope="module")
def rollouts(mlflow_3_17: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollouts]:
    folder = tmp_path_factory.mktemp("rollouts")
    with control_plane(folder) as plane, deployment_controllers(folder), kubelet(plane):
        yield Rollouts(plane=plane, folder=folder, tracking=mlflow_3_17.uri, runs=registered(mlflow_3_17))


def registered(server: MlflowServer) -> dict[str, str]:
    """Register the versions, each of a run of its own, and return their run ids."""
    experiment = ask(server.uri, "POST", f"{API}/experiments/create", {"name": MODEL}).json["experiment_id"]
    ask(server.uri, "POST", f"{API}/registered-models/create", {"name": MODEL})
    runs = {}
    for number in ("1", "2", BAD, "4"):
        run = ask(server.uri, "POST", f"{API}/runs/create", {"experiment_id": experiment}).json["run"]["info"]
        body = {"name": MODEL, "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        ask(server.uri, "POST", f"{API}/model-versions/create", body)
        runs[number] = run["run_id"]
    return runs


@contextmanager
def kubelet(plane: ControlPlane) -> Iterator[None]:
    """Make ready each pod that is not of the version BAD, and remove those that are deleted."""
    stop = threading.Event()

    def work() -> None:
        with httpx.Client(base_url=plane.client.base_url, verify=plane.tls, timeout=5) as client:
            while not stop.wait(0.1):
                with (
                    suppress(httpx.TransportError, ValueError, KeyError),  # the API server is stopped by a test
                    client.stream("GET", PODS, params={"watch": "1", "timeoutSeconds": "1"}) as events,
                ):
                    for event in events.iter_lines():
                        _look_after(client, json.loads(event)["object"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _look_after(client: httpx.Client, pod: Json) -> None:
    name, env = pod["metadata"]["name"], pod["spec"]["containers"][0].get("env", [])
    if "deletionTimestamp" in pod["metadata"]:
        client.request("DELETE", f"{PODS}/{name}", json={"gracePeriodSeconds": 0})
    elif {"name": "MLFLOW_MODEL_VERSION", "value": BAD} not in env and not pod["status"].get("conditions"):
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        client.patch(
            f"{PODS}/{name}/status",
            json={"status": {"phase": "Running", "conditions": [ready]}},
            headers={"Content-Type": "application/merge-patch+json"},
        )


def test_deployment_gets_the_version_once(rollouts: Rollouts) -> None:
    rollouts.deploy("once")
    code, out, err = rollouts.run("once")
    assert code == 0, err
    assert json.loads(out) | {"seconds": 0} == {
        "workload": "deployment/once in default",
        "model": MODEL,
        "version": "2",
        "changed": True,
        "pods": 2,
        "example": False,
        "compared": 0,
        "seconds": 0,
        "split": None,
    }
    assert rollouts.available("once")
    generation = rollouts.get(f"{DEPLOYMENTS}/once")["metadata"]["generation"]
    code, out, err = rollouts.run("once")

    assert (code, json.loads(out)["changed"]) == (0, False), err
    assert rollouts.get(f"{DEPLOYMENTS}/once")["metadata"]["generation"] == generation


def test_dry_run_tells_the_change_and_makes_none(rollouts: Rollouts) -> None:
    rollouts.deploy("dry")
    code, out, err = rollouts.run("dry", "--dry-run", "--format=text")

    assert code == 0, err
    assert "MLFLOW_MODEL_VERSION: 1 -> 2" in out
    assert rollouts.version("dry") == "1"


def test_version_whose_pods_do_not_get_ready_is_put_back(rollouts: Rollouts) -> None:
    rollouts.deploy("back")
    code, _, err = rollouts.run("back", "--wait=5", version=BAD)

    assert code == 9, err
    assert "not ready after" in err
    assert "is back in its former state" in err
    assert rollouts.version("back") == "1"
    assert rollouts.available("back")


def test_run_after_a_kill_knows_the_state_to_go_back_to(rollouts: Rollouts) -> None:
    rollouts.deploy("killed")
    process = rollouts.start("killed", version=BAD)
    rollouts.until(lambda: rollouts.version("killed") == BAD)
    process.kill()
    code, _, err = rollouts.run("killed", "--wait=40", version=BAD)

    assert "another rollout of it runs" in err  # the Lease of the dead one has to expire
    assert code == 9, err
    assert rollouts.version("killed") == "1"


def test_rollout_that_is_interrupted_says_so_and_goes_on_at_once(rollouts: Rollouts) -> None:
    rollouts.deploy("asked")
    process = rollouts.start("asked", version=BAD)
    rollouts.until(lambda: rollouts.version("asked") == BAD)
    process.popen.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert (code, rollouts.version("asked")) == (7, BAD), err
    assert "interrupted by SIGTERM" in err
    code, _, err = rollouts.run("asked", "--wait=10", version=BAD)

    assert (code, rollouts.version("asked")) == (9, "1"), err
    assert "another rollout of it runs" not in err
    code, _, err = rollouts.run("asked", version="4")
    assert (code, rollouts.version("asked")) == (0, "4"), err


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_rollout_that_one_version_left_is_put_back_by_the_other(rollouts: Rollouts, direction: str) -> None:
    """The state to go back to is in annotations and in a Lease."""
    versions = [former_version(), this_version()]
    first, then = versions if direction == "upgrade" else reversed(versions)
    rollouts.deploy(direction)
    process = rollouts.start(direction, version=BAD, by=first)
    rollouts.until(lambda: rollouts.version(direction) == BAD)
    process.popen.send_signal(signal.SIGTERM)
    left = ended(process)
    code, err = ended(rollouts.start(direction, "--wait=10", version=BAD, by=then))

    assert left[0] == 7, left
    assert (code, rollouts.version(direction)) == (9, "1"), err


def test_two_at_once_run_after_each_other(rollouts: Rollouts) -> None:
    rollouts.deploy("twice")
    first = rollouts.start("twice", "--wait=30", version=BAD)
    rollouts.until(lambda: rollouts.version("twice") == BAD)
    second = rollouts.start("twice", "--wait=60", version="4")

    code, err = ended(first)
    assert code == 9, err
    code, err = ended(second)
    assert (code, rollouts.version("twice")) == (0, "4"), err
    assert "another rollout of it runs" in err


def test_change_by_another_is_left_alone(rollouts: Rollouts) -> None:
    rollouts.deploy("theirs")
    process = rollouts.start("theirs", "--wait=60", version=BAD)
    rollouts.until(lambda: rollouts.version("theirs") == BAD)
    rollouts.set_version("theirs", "4")
    code, err = ended(process)

    assert (code, rollouts.version("theirs")) == (7, "4")
    assert "was changed by another meanwhile" in err


def test_failure_after_a_change_by_another_goes_back_to_that_change(rollouts: Rollouts) -> None:
    """The rollout before has ended without an end of its own: it left the workload to the other caller."""
    rollouts.deploy("since")
    process = rollouts.start("since", "--wait=60", version=BAD)
    rollouts.until(lambda: rollouts.version("since") == BAD)
    rollouts.set_version("since", "4")
    assert ended(process)[0] == 7
    code, _, err = rollouts.run("since", "--wait=5", version=BAD)

    assert (code, rollouts.version("since")) == (9, "4"), err


def test_change_by_another_is_left_alone_if_the_answer_to_ours_was_lost(rollouts: Rollouts, tmp_path: Path) -> None:
    rollouts.deploy("lost")
    client, headers = rollouts.plane.client, ("Accept", "Content-Type")
    lost: list[str] = []

    def relay(exchange: Exchange) -> bool:
        sent = {name: value for name, value in exchange.headers.items() if name in headers}
        answer = client.request(exchange.command, exchange.path, content=exchange.body, headers=sent)
        if exchange.command == "PATCH" and not lost:
            lost.append(rollouts.version("lost"))
            rollouts.set_version("lost", "4")
            exchange.hang_up()
        else:
            exchange.send(answer.status_code, answer.content, {"Content-Type": answer.headers["Content-Type"]})
        return True

    with reverse_proxy("", relay) as proxy:
        cluster = {"name": "proxied", "cluster": {"server": proxy.uri}}
        context = {"name": "proxied", "context": {"cluster": "proxied", "user": "proxied"}}
        config = {"clusters": [cluster], "contexts": [context], "users": [{"name": "proxied", "user": {}}]}
        (tmp_path / "config").write_text(json.dumps(config | {"current-context": "proxied"}))
        code, err = ended(rollouts.start("lost", "--wait=60", kubeconfig=tmp_path / "config"))

    assert (code, lost, rollouts.version("lost")) == (7, ["2"], "4"), err
    assert "was changed by another meanwhile" in err


def test_api_server_that_does_not_answer_for_a_while_is_waited_for(rollouts: Rollouts) -> None:
    rollouts.deploy("away")
    process = rollouts.start("away", "--wait=60")
    rollouts.until(lambda: rollouts.version("away") == "2")
    api_server = rollouts.plane.api_server.popen
    api_server.send_signal(signal.SIGSTOP)
    time.sleep(15)  # longer than a request waits
    api_server.send_signal(signal.SIGCONT)
    code, err = ended(process)

    assert code == 0, err
    assert rollouts.available("away")


GOOD = {"model": {"version": "2"}, "example": {"inputs": [1]}}
STATUS = {"kind": "Status", "apiVersion": "v1", "message": "forbidden", "code": 403}
# Answers of a server whose code is another's, to `/info` and to the example; None: the connection ends.
HOSTILE: dict[str, tuple[Any, Any, str]] = {
    "another version": ({"model": {"version": "1"}}, {}, "serves version 1 instead of 2"),
    "no object": ({"model": ["2"]}, {}, "without a model"),
    "a deep answer": (b"[" * 200_000, {}, "without a model"),
    "an answer without an end": (b'"' + b"1" * (65 << 20), {}, "more than 64 MiB"),
    "that of an API server": (STATUS, {}, "without a model"),
    "crash on the example": (GOOD, None, "does not answer"),
    "error on the example": (GOOD, (500, {}), "answers the model's own example with 500"),
    "moved": ((302, {}), {}, "answers /info with 302"),
}


@contextmanager
def hostile_server(info: Any, example: Any) -> Iterator[str]:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = info if self.path == "/info" else example
            if answer is None:
                self.close_connection = True
                return
            status, document = answer if isinstance(answer, tuple) else (200, answer)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            with suppress(OSError):  # the client takes no more
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the name of the base class

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    with in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("case", HOSTILE)
def test_version_whose_server_fails_or_lies_is_put_back(rollouts: Rollouts, case: str) -> None:
    info, example, sentence = HOSTILE[case]
    name = case.replace(" ", "-").lower()
    rollouts.deploy(name)
    with hostile_server(info, example) as url:
        code, _, err = rollouts.run(name, f"--url={url}", calls=True)

    assert code == 9, err
    assert sentence in err
    assert rollouts.version(name) == "1"


def test_lease_of_a_rollout_that_has_ended_holds_nothing(rollouts: Rollouts) -> None:
    rollouts.deploy("lease")
    rollouts.run("lease")
    lease = rollouts.get(f"{LEASES}/model-api-rollout-deployment-lease")

    assert lease["spec"].get("holderIdentity", "") == ""
    assert lease["metadata"].get("annotations", {}) == {}


@pytest.mark.parametrize(
    ("workload", "options", "code", "sentence"),
    [
        ("deployment/none", ["--version=1"], 5, "deployment/none in default: "),
        ("inferenceservice/none", ["--version=1"], 5, "in default: the cluster has no such kind of object"),
        ("deployment/lease", ["--version=9"], 5, "has no version 9"),
        ("deployment/lease", [], 5, "has no version in Production"),
        ("deployment/lease", ["--alias=none"], 5, "has no alias none"),
        ("pod/lease", [], 3, "is no workload"),
        ("deployment/lease", ["--canary"], 2, "are for an inferenceservice"),
        ("deployment/lease", ["--compare=/no/file"], 3, "--compare /no/file cannot be read"),
    ],
)
def test_rollout_that_cannot_begin_says_why(
    rollouts: Rollouts, workload: str, options: list[str], code: int, sentence: str
) -> None:
    command = [installed("model-api"), "rollout", workload, "--model", MODEL, *options]
    done = completed(command, env=rollouts.environment(), imported=MODULES)

    assert done.returncode == code, done.stderr
    assert sentence in done.stderr


def test_share_of_a_canary_is_that_of_a_route_with_a_weight_for_its_service(
    rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(rollouts.plane.kubeconfig))
    canary, service = ({"name": f"wine-{name}", "port": 80} for name in ("canary-predictor", "predictor"))
    with client_of(None) as client:
        cluster = ClusterObjects(client=client, namespace="default")
        without_gateway = cluster.weighted_routes(canary["name"])
        rollouts.plane.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", HTTP_ROUTE)
        rollouts.until(lambda: rollouts.plane.client.get(ROUTES).is_success)
        for name, backends in {
            "alone": [service],
            "off": [service | {"weight": 100}, canary | {"weight": 0}],
            "split": [service | {"weight": 90}, canary | {"weight": 10}],
        }.items():
            route = {"metadata": {"name": name}, "spec": {"rules": [{"backendRefs": backends}]}}
            rollouts.plane.create(ROUTES, {"apiVersion": f"{GATEWAY}/v1", "kind": "HTTPRoute", **route})
        found = cluster.weighted_routes(canary["name"])

    assert (without_gateway, found) == ([], ["split"])
