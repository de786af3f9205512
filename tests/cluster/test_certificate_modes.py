"""The webhook with the certificate of an admin. `test_outage` covers its own, `tests/full` those of cert-manager."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from model_contract.model_ref import ModelRef
from model_contract.names import REGISTRATION, TLS_SECRET
from testbed.cluster.kube import Kube
from testbed.cluster.load import pods_at
from testbed.cluster.workloads import (
    PLATFORM,
    literals,
    model_pod,
    wait_until_webhook_is_gone,
)

MANIFESTS = Path(__file__).parents[2] / "manifests"
QUICKSTART = MANIFESTS / "overlays" / "quickstart"
HOST = f"model-api-webhook.{PLATFORM}.svc"


def overlay(folder: Path, *components: str) -> Path:
    """The quickstart's webhook without its own certificates."""
    manifests = os.path.relpath(MANIFESTS, folder)
    settings = {"name": "model-api-webhook-settings", "namespace": PLATFORM, "behavior": "merge"}
    quickstart = yaml.safe_load((QUICKSTART / "kustomization.yaml").read_text())
    literals = next(one["literals"] for one in quickstart["configMapGenerator"] if one["name"] == settings["name"])
    kustomization = {
        "resources": [f"{manifests}/base"],
        "components": [f"{manifests}/components/{component}" for component in components],
        "configMapGenerator": [settings | {"literals": literals}],
        "images": quickstart["images"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@pytest.fixture(scope="module", autouse=True)
def restored(installed: Kube, quickstart: Path) -> Iterator[None]:
    """The quickstart's webhook is there again after the last of these tests."""
    yield
    take_away(installed)
    installed("apply", "-k", quickstart)
    installed.rolled_out(PLATFORM, "model-api-webhook")


@pytest.fixture
def without_certificates(quiet: Kube) -> Kube:
    """The installation between two ways to have certificates, as docs/how-to/operate-webhook.md says."""
    take_away(quiet)
    return quiet


def take_away(kube: Kube) -> None:
    kube(
        "-n",
        PLATFORM,
        "delete",
        "deployment/model-api-webhook",
        f"secret/{TLS_SECRET}",
        "--ignore-not-found",
        "--wait=true",
    )
    wait_until_webhook_is_gone(kube)
    kube("delete", "mutatingwebhookconfiguration", REGISTRATION, "--ignore-not-found")


def served(kube: Kube) -> bytes:
    """Return the leaf in one pod's volume, which that pod serves on its next connection."""
    return kube(
        "-n", PLATFORM, "exec", "deployment/model-api-webhook", "--", "cat", "/run/model-api-webhook/tls/tls.crt"
    ).encode()  # fmt: skip


def sync_volumes(kube: Kube) -> None:
    """Change a pod, so that the kubelet looks at its Secrets at once and not after a minute."""
    kube(
        "-n",
        PLATFORM,
        "annotate",
        "pod",
        "-l",
        "app.kubernetes.io/name=model-api-webhook",
        "--overwrite",
        f"synced={os.urandom(4).hex()}",
    )


def test_certificate_that_an_admin_brings(without_certificates: Kube, wine: ModelRef, tmp_path: Path) -> None:
    kube = without_certificates
    authority = trustme.CA()
    kube.apply(tls_secret(authority))
    kube("apply", "-k", overlay(tmp_path))
    trust = {
        "op": "add",
        "path": "/webhooks/0/clientConfig/caBundle",
        "value": base64.b64encode(authority.cert_pem.bytes()).decode(),
    }
    kube("patch", "mutatingwebhookconfiguration", REGISTRATION, "--type=json", "-p", json.dumps([trust]))
    kube.rolled_out(PLATFORM, "model-api-webhook")
    before = served(kube)

    with pods_at(20, model_pod("many", literals(wine)), kube.kubeconfig) as outcome:
        kube.apply(tls_secret(authority))
        sync_volumes(kube)
        kube.until(lambda: served(kube) != before, what="the other certificate")

    assert (outcome.refused, outcome.bare_seconds) == ([], [])
    assert outcome.count > 0


def tls_secret(authority: trustme.CA) -> dict[str, object]:
    leaf = authority.issue_cert(HOST)
    pair = {"tls.crt": leaf.cert_chain_pems[0].bytes(), "tls.key": leaf.private_key_pem.bytes()}
    data = {name: base64.b64encode(value).decode() for name, value in pair.items()}
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    return {**kind, "metadata": {"name": TLS_SECRET, "namespace": PLATFORM}, "data": data}
