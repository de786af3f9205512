"""The webhook beside others: a later webhook, native sidecars, meshes, and a cluster after its removal."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme

from model_contract.model_ref import ModelRef
from model_contract.names import (
    DEADLINE_ANNOTATION,
    ENABLED_LABEL,
    INIT_CONTAINER,
    POLICY,
    REGISTRATION,
    STATUS_ANNOTATION,
)
from testbed.cluster.kube import Kube
from testbed.cluster.machine import Network
from testbed.cluster.workloads import (
    COMPUTE,
    IDLE,
    LOCKED,
    PLATFORM,
    RUNTIME_IMAGE,
    fetch_ended,
    literals,
    model_deployment,
    model_pod,
    plain_pod,
)

HOST = Network(name="").outside
Json = dict[str, Any]


class Adds(BaseHTTPRequestHandler):
    """Answers every review with a patch that adds one container, once."""

    container: ClassVar[Json]

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pod = review["request"]["object"]
        there = any(container["name"] == self.container["name"] for container in pod["spec"]["containers"])
        patch = [] if there else [{"op": "add", "path": "/spec/containers/-", "value": self.container}]
        response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch"}
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        body = json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing."""


@pytest.fixture
def another_webhook(quiet: Kube, wine: ModelRef) -> Iterator[Kube]:
    """A webhook whose name comes after ours, so that it sees our patch; its container asks for the same model."""
    if not quiet.ours:
        pytest.skip("the API server of another cluster does not reach a webhook on this host")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    container = {
        "name": "late",
        "image": RUNTIME_IMAGE,
        "command": ["sleep", "60"],
        "env": literals(wine),
        "securityContext": LOCKED,
    }
    server = ThreadingHTTPServer((HOST, 0), type("AddsLate", (Adds,), {"container": container}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    address = f"https://{HOST}:{server.server_port}/"
    quiet.apply(registration("z-another", address, authority.cert_pem.bytes()))
    try:
        yield quiet
    finally:
        quiet("delete", "mutatingwebhookconfiguration", "z-another")
        server.shutdown()
        server.server_close()
        thread.join()


def registration(name: str, url: str, authority: bytes) -> Json:
    webhook = {
        "name": f"{name}.example.org",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "objectSelector": {"matchLabels": {"add": "container"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    return {**kind, "metadata": {"name": name}, "webhooks": [webhook]}


def test_container_that_a_later_webhook_adds_gets_the_model_too(another_webhook: Kube, wine: ModelRef) -> None:
    pod = model_pod("two", literals(wine))
    pod["metadata"]["labels"]["add"] = "container"
    created = json.loads(another_webhook("apply", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(pod)))

    mounts = {
        container["name"]: [mount["mountPath"] for mount in container["volumeMounts"]]
        for container in created["spec"]["containers"]
    }
    place = f"/artifacts/mlflow/{wine.owner}/{wine.run_id}/artifacts/model"
    assert place in mounts["model"]
    assert place in mounts["late"]
    assert [container["name"] for container in created["spec"]["initContainers"]] == [INIT_CONTAINER]


def test_native_sidecar_runs_before_the_fetch_and_goes_on(quiet: Kube, wine: ModelRef) -> None:
    """Use an init container that restarts always, as Istio does; it starts before all later ones."""
    proxy = {
        "name": "istio-proxy",
        "image": RUNTIME_IMAGE,
        "command": ["sleep", "3600"],
        "restartPolicy": "Always",
        "securityContext": LOCKED,
    }
    pod = model_pod("meshed", literals(wine), **IDLE)
    pod["spec"]["initContainers"] = [proxy, proxy | {"name": "users-own", "restartPolicy": None, "command": ["true"]}]
    quiet.apply(pod)
    quiet("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/meshed", "--timeout=240s")

    found = quiet.get("-n", COMPUTE, "pod", "meshed")
    assert [container["name"] for container in found["spec"]["initContainers"]] == [
        "istio-proxy",
        INIT_CONTAINER,
        "users-own",
    ]
    states = {status["name"]: status["state"] for status in found["status"]["initContainerStatuses"]}
    assert "running" in states["istio-proxy"]
    assert states["istio-proxy"]["running"]["startedAt"] <= states[INIT_CONTAINER]["terminated"]["startedAt"]


# What a mesh's CNI plugin does to the traffic of a pod before anything of it runs; here a privileged container does it,
# with the node's own iptables. Nobody listens at the port: who is captured has no network.
CAPTURE = """
import os, subprocess
os.chroot("/node")
os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
for rule in ("-m owner --uid-owner {user} -j RETURN", "-o lo -j RETURN", "-p tcp -j REDIRECT --to-port 4140"):
    subprocess.run(["iptables", "-t", "nat", "-A", "OUTPUT", *rule.split()], check=True)
"""


MESHES = {"linkerd-network-validator": 2102, "istio-validation": 1337}


@pytest.fixture(scope="module")
def unrestricted(installed: Kube, wine: ModelRef) -> Iterator[str]:
    """An enabled namespace whose pods may be privileged, with those of each mesh, which start at the same time."""
    if not installed.ours:
        pytest.skip("the nodes of another cluster may have no iptables")
    metadata = {"name": "unrestricted", "labels": {ENABLED_LABEL: "true"}}
    installed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    installed.until(lambda: installed.attempt("-n", "unrestricted", "get", "serviceaccount", "default").returncode == 0)
    for mesh, user in MESHES.items():
        installed.apply(
            meshed(f"known-{user}", "unrestricted", wine, user, mesh),
            meshed(f"unknown-{user}", "unrestricted", wine, user, "some-validator"),
        )
    yield "unrestricted"
    installed("delete", "namespace", "unrestricted", "--wait=false")


def meshed(name: str, namespace: str, wine: ModelRef, user: int, validator: str) -> Json:
    pod = model_pod(name, literals(wine), namespace=namespace, **IDLE)
    pod["metadata"]["annotations"] = {DEADLINE_ANNOTATION: "10s"}  # five tries take half a minute
    node = {"name": "node", "hostPath": {"path": "/"}}
    privileged = {"privileged": True, "runAsUser": 0, "runAsNonRoot": False}
    capture = {
        "name": "capture",
        "image": RUNTIME_IMAGE,
        "command": ["python3", "-c", CAPTURE.format(user=user)],
        "securityContext": privileged,
        "volumeMounts": [{"name": "node", "mountPath": "/node"}],
    }
    checked = {"name": validator, "image": RUNTIME_IMAGE, "command": ["true"], "securityContext": LOCKED}
    pod["spec"]["initContainers"] = [capture, checked]
    pod["spec"]["volumes"].append(node)
    return pod


@pytest.mark.parametrize(("mesh", "user"), MESHES.items())
def test_fetch_gets_past_a_mesh_that_the_node_sets_up(installed: Kube, unrestricted: str, mesh: str, user: int) -> None:
    """Run one fetch as the user of the mesh's proxy, and one as another user, which has no network."""
    known, unknown = f"known-{user}", f"unknown-{user}"
    installed("-n", unrestricted, "wait", "--for=condition=Ready", f"pod/{known}", "--timeout=240s")
    failed = fetch_ended(installed, unknown, unrestricted)

    pod = installed.get("-n", unrestricted, "pod", known)
    init = pod["spec"]["initContainers"]
    ended = {status["name"]: status["state"]["terminated"] for status in pod["status"]["initContainerStatuses"]}
    assert [container["name"] for container in init] == ["capture", mesh, INIT_CONTAINER]
    assert init[-1]["securityContext"]["runAsUser"] == user
    assert ended[INIT_CONTAINER]["exitCode"] == 0
    assert failed["exitCode"] == 8


def test_warning_of_a_controllers_pod_is_on_the_pod(quiet: Kube, wine: ModelRef) -> None:
    """Create the pod by a controller, which shows warnings to no person."""
    quiet.apply(model_deployment("silent", literals(wine)[:3], **IDLE))
    pods = quiet.until(lambda: quiet.items("-n", COMPUTE, "pod", "-l", "app=silent"))
    events = quiet("-n", COMPUTE, "get", "events", "-o", "json")

    assert pods[0]["metadata"]["annotations"][STATUS_ANNOTATION] == "skipped:incomplete_env"
    assert "MLFLOW_RUN_ID is not set" not in events


def test_uninstalled_cluster_starts_pods_as_before(quiet: Kube, wine: ModelRef, quickstart: Path) -> None:
    """In the order of docs/how-to/operate-webhook.md."""
    quiet("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", POLICY)
    quiet("delete", "mutatingwebhookconfiguration", REGISTRATION)
    try:
        quiet("-n", PLATFORM, "delete", "deployment", "model-api-webhook", "--wait=true")
        quiet.until(
            lambda: (
                quiet.attempt(
                    "apply", "-f", "-", given=json.dumps(model_pod("bare", literals(wine), **IDLE))
                ).returncode
                == 0
            ),
        )
        quiet.apply(plain_pod("after", COMPUTE))
        quiet("-n", COMPUTE, "wait", "--for=condition=Ready", "pod/after", "--timeout=240s")
        bare = quiet.get("-n", COMPUTE, "pod", "bare")
    finally:
        quiet("apply", "-k", quickstart)
        quiet.rolled_out(PLATFORM, "model-api-webhook")

    assert "initContainers" not in bare["spec"]
    assert STATUS_ANNOTATION not in bare["metadata"].get("annotations", {})
