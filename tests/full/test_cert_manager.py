"""cert-manager issues, registers and renews the webhook's certificate, while pods are created."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import REGISTRATION, TLS_SECRET
from testbed.cluster import binaries
from testbed.cluster.kube import Kube
from testbed.cluster.load import pods_at
from testbed.cluster.workloads import COMPUTE, IDLE, PLATFORM, literals, model_deployment, model_pod
from tests.cluster.test_certificate_modes import (  # noqa: F401  two are fixtures
    overlay,
    restored,
    served,
    sync_volumes,
    without_certificates,
)


@pytest.fixture
def cert_manager(without_certificates: Kube) -> Iterator[Kube]:  # noqa: F811  the fixture
    """cert-manager's controllers and its injector as one process beside the cluster.

    Its own webhook only checks, and is left out.
    """
    kube = without_certificates
    crds = binaries.folder_of("certmanager", "github.com/cert-manager/cert-manager") / "deploy" / "crds"
    names = ("certificates", "certificaterequests", "issuers", "clusterissuers")
    files = [f"--filename={crds}/cert-manager.io_{name}.yaml" for name in names]
    kube("apply", "--server-side", *files)
    kube("wait", "--for=condition=Established", "--timeout=240s", *files)
    process = subprocess.Popen([binaries.cert_manager()], env=kube.environment, stderr=subprocess.DEVNULL)
    try:
        yield kube
    finally:
        process.terminate()
        process.wait(timeout=120)
        kube("-n", PLATFORM, "delete", "secret", "model-api-webhook-ca", "--ignore-not-found")
        kube("delete", *files)


def test_cert_manager_issues_registers_and_renews(
    cert_manager: Kube,
    wine: ModelRef,
    tmp_path: Path,
) -> None:
    kube = cert_manager
    kube("apply", "-k", overlay(tmp_path, "cert-manager", "policy"))
    kube.rolled_out(PLATFORM, "model-api-webhook")
    kube("-n", PLATFORM, "wait", "--for=condition=Ready", "certificate/model-api-webhook", "--timeout=240s")
    kube.until(lambda: bundle(kube) == authority(kube), what="the caBundle is cert-manager's authority")
    before, trusted = served(kube), bundle(kube)

    with pods_at(20, model_pod("many", literals(wine)), kube.kubeconfig) as outcome:
        renew(kube)
        sync_volumes(kube)
        kube.until(lambda: served(kube) != before, what="the renewed certificate")

    assert (outcome.refused, outcome.bare_seconds) == ([], [])
    assert outcome.count > 0
    assert bundle(kube) == trusted
    kube.apply(model_deployment("managed", literals(wine), **IDLE))
    kube.rolled_out(COMPUTE, "managed")


def bundle(kube: Kube) -> str:
    webhooks = kube.get("mutatingwebhookconfiguration", REGISTRATION)["webhooks"]
    return str(webhooks[0]["clientConfig"].get("caBundle"))


def authority(kube: Kube) -> str:
    return str(kube.get("-n", PLATFORM, "secret", "model-api-webhook-ca")["data"]["tls.crt"])


def renew(kube: Kube) -> None:
    """Renew the certificate as `cmctl renew` does."""
    version = kube.get("-n", PLATFORM, "secret", TLS_SECRET)["metadata"]["resourceVersion"]
    certificate = kube.get("-n", PLATFORM, "certificate", "model-api-webhook")
    certificate["status"]["conditions"].append(
        {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "renewed"}
    )
    kube("replace", "--subresource=status", "-f", "-", given=json.dumps(certificate))
    kube.until(
        lambda: kube.get("-n", PLATFORM, "secret", TLS_SECRET)["metadata"]["resourceVersion"] != version,
        what="a renewed Secret",
    )
