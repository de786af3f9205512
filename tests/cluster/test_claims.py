"""Models on claims: one that lives as long as its pod, and one that is shared and filled before."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from testbed.cluster.cluster import RUN
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import (
    COMPUTE,
    IDLE,
    LOCKED,
    TEST_LABEL,
    USER,
    fetch_ended,
    literals,
    model_pod,
    settings,
)

Json = dict[str, Any]


@pytest.fixture
def volume(quiet: Kube) -> Iterator[str]:
    """Name of a volume of this node, to which any claim is bound; nothing provisions volumes here."""
    if not quiet.ours:
        pytest.skip("only on the cluster of testbed.cluster is there a folder of the node to make a volume of")
    folder = RUN / "volumes" / "models"
    shutil.rmtree(folder, ignore_errors=True)  # what another test left belongs to another user
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    quiet.apply(host_volume("models", folder))
    yield "models"
    quiet("-n", COMPUTE, "delete", "pod", "-l", "test=yes", "--grace-period=1", "--wait=true")
    quiet("-n", COMPUTE, "delete", "persistentvolumeclaim", "--all", "--wait=true")
    quiet("delete", "persistentvolume", "models")


def host_volume(name: str, folder: Path) -> Json:
    spec = {
        "capacity": {"storage": "20Gi"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "hostPath": {"path": str(folder)},
        "storageClassName": "by-hand",
        "persistentVolumeReclaimPolicy": "Retain",
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def ready(kube: Kube, name: str) -> None:
    kube("-n", COMPUTE, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=240s")


def test_claim_that_lives_as_long_as_its_pod(quiet: Kube, wine: ModelRef, volume: str) -> None:
    with settings(quiet, {"STORE": "ephemeral-claim", "STORE_CLASS": "by-hand", "STORE_SIZE": "2Gi"}):
        quiet.apply(model_pod("on-a-claim", literals(wine), **IDLE))
        ready(quiet, "on-a-claim")
        claim = quiet.get("-n", COMPUTE, "persistentvolumeclaim", "on-a-claim-mlflow-model")
        quiet("-n", COMPUTE, "delete", "pod", "on-a-claim", "--grace-period=1", "--wait=true")
        quiet.until(lambda: not quiet.items("-n", COMPUTE, "persistentvolumeclaim"), what="the claim goes with the pod")

    assert (claim["status"]["phase"], claim["spec"]["volumeName"]) == ("Bound", volume)


def test_shared_claim_is_verified_and_mounted(quiet: Kube, wine: ModelRef, volume: str) -> None:
    quiet.apply(shared_claim(), filler(wine))
    quiet("-n", COMPUTE, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/filler", "--timeout=240s")
    with settings(quiet, {"DELIVERY": "volume", "CLAIM": "mlflow-models"}):
        quiet.apply(model_pod("shared", literals(wine), **IDLE))
        ready(quiet, "shared")
        absent = ModelRef(name=wine.name, version=wine.version, owner=wine.owner, run_id="f" * 32)
        quiet.apply(model_pod("absent", literals(absent), **IDLE))
        failed = fetch_ended(quiet, "absent")

    init = quiet.get("-n", COMPUTE, "pod", "shared")["spec"]["initContainers"][0]
    assert init["args"][0] == "verify"
    assert failed["exitCode"] == 5
    assert "f" * 32 in failed["message"]


def shared_claim() -> Json:
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "by-hand",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    metadata = {"name": "mlflow-models", "namespace": COMPUTE, "labels": TEST_LABEL}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def filler(ref: ModelRef) -> Json:
    """As docs/how-to/operate-webhook.md fills a shared claim."""
    container = {
        "name": "fetch",
        "image": "model-api-delivery:0.1.0",
        "args": ["fetch", "--store=/store"],
        "env": [*literals(ref), {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.mlflow-efs.svc:5000"}],
        "securityContext": LOCKED,
        "volumeMounts": [{"name": "store", "mountPath": "/store"}],
    }
    volumes = [{"name": "store", "persistentVolumeClaim": {"claimName": "mlflow-models"}}]
    spec = {"restartPolicy": "Never", "securityContext": USER, "containers": [container], "volumes": volumes}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "filler", "namespace": COMPUTE, "labels": TEST_LABEL},
        "spec": spec,
    }
