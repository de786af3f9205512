"""KServe's controller as a process, with an API server without a node: it makes objects, and nothing runs them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import trustme
import yaml

from testbed.cluster import binaries, pki
from testbed.cluster.control_plane import HERE, etcd, kube_apiserver
from testbed.cluster.kube import Kube
from testbed.controllers.install import apply, rendered
from testbed.controllers.kserve import CERT_MANAGER, RELEASE, configure, manager
from testbed.processes import free_port, running

CERTIFICATES: Final = Path("k8s-webhook-server") / "serving-certs"  # below the directory for temporary files
STARTS_WITHIN: Final = 240  # on a machine that does other things

Json = dict[str, Any]


@contextmanager
def controller_alone(folder: Path) -> Iterator[Kube]:
    """Run etcd, an API server and KServe's controller for the length of a block; `folder` takes their files."""
    programs = binaries.build()
    store, peers, port, webhooks = free_port(), free_port(), free_port(), free_port()
    pki.write(folder, HERE)
    kubeconfig = folder / "admin.kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace(":6443", f":{port}"))
    kube = Kube(program=str(programs / "kubectl"), kubeconfig=kubeconfig, ours=False)
    with etcd(programs, folder, store, peers), kube_apiserver(programs, folder, store, port):
        kube.until(lambda: kube.attempt("get", "namespace", "default").returncode == 0, seconds=STARTS_WITHIN)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        kube.apply(account)  # a controller makes it in a cluster
        registrations = installed_without_webhooks(kube, folder, webhooks)
        command: list[str | Path] = [manager(), f"--webhook-port={webhooks}", "--metrics-addr=0"]
        command.append("--health-probe-addr=0")
        environment = {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": "kserve", "TMPDIR": str(folder)}
        with running(command, log=folder / "manager.log", env=os.environ | environment):
            kube.until(lambda: "Serving webhook server" in (folder / "manager.log").read_text(), seconds=STARTS_WITHIN)
            apply(kube, registrations)
            apply(kube, rendered(kube, RELEASE.source() / "config" / "runtimes"))
            yield kube


def installed_without_webhooks(kube: Kube, folder: Path, port: int) -> list[Json]:
    """Install what the controller needs to start, and return the registrations of its webhooks, which it serves."""
    authority = trustme.CA()
    leaf = authority.issue_cert(HERE)
    (folder / CERTIFICATES).mkdir(parents=True)
    leaf.cert_chain_pems[0].write_to_path(folder / CERTIFICATES / "tls.crt")
    leaf.private_key_pem.write_to_path(folder / CERTIFICATES / "tls.key")
    registrations, others = [], []
    for found in rendered(kube, RELEASE.source() / "config" / "overlays" / "standalone" / "kserve"):
        configure(found, "none", authority.cert_pem.bytes())
        if found["kind"].endswith("WebhookConfiguration"):
            for webhook in found["webhooks"]:
                path = webhook["clientConfig"].pop("service")["path"]
                webhook["clientConfig"]["url"] = f"https://{HERE}:{port}{path}"
            registrations.append(found)
        elif found["kind"] not in CERT_MANAGER:
            others.append(found)
    apply(kube, others)
    return registrations


def admitted_pod(kube: Kube, deployment: str) -> Json:
    """Return a pod of a Deployment as the API server would store it, changed by KServe's webhook."""
    template = kube.get("deployment", deployment)["spec"]["template"]
    metadata = template["metadata"] | {"name": f"{deployment}-0"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    stored: Json = yaml.safe_load(
        kube("create", "--dry-run=server", "-o", "yaml", "-f", "-", given=yaml.safe_dump(pod))
    )
    return stored
