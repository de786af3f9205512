"""The component `shared-volume` as an admin installs it: a Job fills the claim, a CronJob empties it, pods mount it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import TAG_USER, TOKEN_KEY, pull_secret
from testbed.cluster.cluster import RUN
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, IDLE, MLFLOW, PLATFORM, PROJECT_ID, literals, model_pod
from testbed.gate import API, ask
from tests.api_server.test_sync_rights import FILL, SYNC, overlay
from tests.cluster.test_claims import ready, shared_claim, volume
from tests.cluster.test_gate import stamped

__all__ = ["volume"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The cluster with the component, and the folder of this node that is the claim."""

    kube: Kube
    store: Path

    def ended(self, job: str) -> Json:
        """Return the summary of a Job's pod when it has ended."""
        waited = self.kube.attempt("-n", COMPUTE, "wait", "--for=condition=Complete", f"job/{job}", "--timeout=180s")
        assert waited.returncode == 0, self.kube.attempt("-n", COMPUTE, "logs", f"--selector=job-name={job}").stdout
        # A container's log has the lines of standard error in any order to those of standard output.
        lines = self.kube("-n", COMPUTE, "logs", f"job/{job}").splitlines()
        summary: Json = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
        return summary

    def sync(self, name: str) -> Json:
        """Run the CronJob now, with a grace of a second."""
        text = self.kube("-n", COMPUTE, "create", "job", name, f"--from=cronjob/{SYNC}", "--dry-run=client", "-o=json")
        job = json.loads(text.replace("--grace=7d", "--grace=1s"))
        job["metadata"].pop("ownerReferences", None)
        self.kube.apply(job)
        return self.ended(name)


@pytest.fixture
def shared(quiet: Kube, wine: ModelRef, volume: str, quickstart: Path, tmp_path: Path) -> Iterator[Shared]:
    """The component, beside a version in Staging whose project and user are known."""
    stamped(quiet, wine)
    move(quiet, wine, "Staging")
    with quiet.forwarded(MLFLOW, "mlflow", 5000) as uri:
        tag = {"name": wine.name, "key": TAG_USER, "value": wine.owner}
        assert ask(uri, "POST", f"{API}/registered-models/set-tag", tag).status == 200
    token = {"metadata": {"name": pull_secret(PROJECT_ID), "namespace": COMPUTE}, "stringData": {TOKEN_KEY: "any"}}
    quiet.apply({"apiVersion": "v1", "kind": "Secret", **token}, shared_claim())
    built = overlay(tmp_path, quickstart)
    quiet("apply", "-k", built)
    quiet.rolled_out(PLATFORM, "model-api-webhook")
    quiet("-n", COMPUTE, "patch", "cronjob", SYNC, "--patch", '{"spec": {"suspend": true}}')
    yield Shared(kube=quiet, store=RUN / "volumes" / "models")
    quiet("-n", COMPUTE, "delete", "job", "--all", "--wait=true")
    for kind in ("cronjob", "serviceaccount", "role", "rolebinding"):
        quiet("-n", COMPUTE, "delete", kind, SYNC)
    quiet("-n", COMPUTE, "delete", "configmap", f"{SYNC}-settings")
    quiet("-n", COMPUTE, "delete", "secret", pull_secret(PROJECT_ID))
    quiet("apply", "-k", quickstart)
    quiet.rolled_out(PLATFORM, "model-api-webhook")


def move(kube: Kube, wine: ModelRef, stage: str) -> None:
    with kube.forwarded(MLFLOW, "mlflow", 5000) as uri:
        body = {"name": wine.name, "version": wine.version, "stage": stage}
        assert ask(uri, "POST", f"{API}/model-versions/transition-stage", body).status == 200


def test_job_fills_the_claim_and_pods_mount_it_and_a_used_model_stays(shared: Shared, wine: ModelRef) -> None:
    """The Deployment of the quickstart names the model, too."""
    filled = shared.ended(FILL)
    [there] = (path.name for path in (shared.store / wine.owner).iterdir())
    shared.kube.apply(model_pod("shared", literals(wine), **IDLE))
    ready(shared.kube, "shared")
    move(shared.kube, wine, "Archived")
    waiting = shared.sync("sync-waiting")
    used = shared.sync("sync-used")
    shared.kube("-n", COMPUTE, "delete", "pod", "shared", "--grace-period=1", "--wait=true")
    shared.kube("-n", COMPUTE, "delete", "deployment", "wine-quality", "--wait=true")
    shared.kube("-n", COMPUTE, "wait", "--for=delete", "pod", "-l", "app=wine-quality", "--timeout=240s")
    removed = shared.sync("sync-removed")

    assert (filled["fetched"], filled["exit"], there) == (1, 0, wine.run_id)
    assert waiting["waiting"] == 1
    assert (used["used"], used["removed"]) == (1, 0)
    assert (removed["used"], removed["removed"]) == (0, 1)
    assert list((shared.store / wine.owner).iterdir()) == []
