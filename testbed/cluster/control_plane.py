"""An API server with etcd and without a node, which admits thousands of pods a minute as a dry run."""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from testbed.cluster import binaries, pki
from testbed.processes import Process, free_port, running

HERE: Final = "127.0.0.1"
READY_SECONDS: Final = 120  # on a machine that does other things; it takes 5 alone

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """The API of a cluster, with the rights of its admin. `kubeconfig` is the file with them."""

    client: httpx.Client
    tls: ssl.SSLContext
    kubeconfig: Path
    api_server: Process

    def create(self, path: str, content: Mapping[str, Any]) -> Json:
        """Return the object as the API server stores it. Raises HTTPStatusError."""
        answer = self.client.post(path, json=content)
        answer.raise_for_status()
        created: Json = answer.json()
        return created

    def refusal(self, pod: Mapping[str, Any], namespace: str) -> str | None:
        """Return the API server's reason against the pod, or None if it would admit it. Nothing is stored."""
        answer = self.client.post(f"/api/v1/namespaces/{namespace}/pods", params={"dryRun": "All"}, json=pod)
        return None if answer.is_success else str(answer.json().get("message"))

    def wait_for_refusal(self, pod: Mapping[str, Any], namespace: str) -> None:
        """Wait until a policy is in force, which takes seconds. Raises TimeoutError."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.refusal(pod, namespace):
            if time.monotonic() > deadline:
                raise TimeoutError("the policy is not in force")
            time.sleep(0.2)

    def admitted(self, pod: Mapping[str, Any], namespace: str) -> Json:
        """Return the pod as it would be stored, with the API server's defaults. Raises HTTPStatusError."""
        answer = self.client.post(f"/api/v1/namespaces/{namespace}/pods", params={"dryRun": "All"}, json=pod)
        answer.raise_for_status()
        stored: Json = answer.json()
        return stored


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Run etcd and an API server for the length of a block; `folder` takes their files.

    Missing programs are compiled first.
    """
    programs = binaries.build()
    store, peers, port = free_port(), free_port(), free_port()
    pki.write(folder, HERE, port)
    with etcd(programs, folder, store, peers), api(folder, store, port) as plane:
        yield plane


@contextmanager
def api(folder: Path, store: int, port: int) -> Iterator[ControlPlane]:
    """Run an API server on an etcd that runs, with the certificates and keys of `folder`."""
    with kube_apiserver(binaries.build(), folder, store, port) as api_server:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        with httpx.Client(base_url=f"https://{HERE}:{port}", verify=context, timeout=30) as client:
            plane = ControlPlane(
                client=client, tls=context, kubeconfig=folder / "admin.kubeconfig", api_server=api_server
            )
            wait_until_ready(plane)
            yield plane


@contextmanager
def deployment_controllers(folder: Path) -> Iterator[None]:
    """Run the controllers that make the pods of Deployments, for the control plane in this folder."""
    command: list[str | Path] = [
        binaries.build() / "kube-controller-manager",
        f"--kubeconfig={folder}/controller-manager.kubeconfig",
        f"--service-account-private-key-file={folder}/service-accounts.key",
        f"--root-ca-file={folder}/ca.crt",
        "--controllers=deployment-controller,replicaset-controller,serviceaccount-controller",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    with running(command, log=folder / "controllers.log", env={}):
        yield


@contextmanager
def etcd(programs: Path, folder: Path, port: int, peers: int) -> Iterator[None]:
    clients, others = f"http://{HERE}:{port}", f"http://{HERE}:{peers}"
    urls = [f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}", f"--listen-peer-urls={others}"]
    peer = [f"--initial-advertise-peer-urls={others}", f"--initial-cluster=default={others}"]
    command: list[str | Path] = [programs / "etcd", f"--data-dir={folder}/etcd", *urls, *peer, "--unsafe-no-fsync"]
    with running(command, log=folder / "etcd.log", env={}):
        yield


@contextmanager
def kube_apiserver(programs: Path, folder: Path, store: int, port: int) -> Iterator[Process]:
    command: list[str | Path] = [
        programs / "kube-apiserver",
        f"--etcd-servers=http://{HERE}:{store}",
        f"--bind-address={HERE}",
        f"--secure-port={port}",
        f"--tls-cert-file={folder}/apiserver.crt",
        f"--tls-private-key-file={folder}/apiserver.key",
        f"--client-ca-file={folder}/ca.crt",
        *(f"--service-account-key-file={key}" for key in sorted(folder.glob("service-accounts*.pub"))),
        f"--service-account-signing-key-file={folder}/service-accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",  # an address of the loopback interface is no endpoint
    ]
    with running(command, log=folder / "apiserver.log", env={}) as process:
        yield process


def wait_until_ready(plane: ControlPlane) -> None:
    """Wait for the API server. Raises TimeoutError."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if plane.client.get("/readyz").is_success and plane.client.get("/api/v1/namespaces/default").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError("the API server is not ready")
