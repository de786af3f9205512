"""Rights and objects of the sync of a shared claim, at a real API server without a node."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from model_contract.exit_codes import ExitCode
from model_contract.names import TRACKING_URI
from model_delivery.deadline import Deadline, Limits
from model_delivery.errors import DeliveryError
from model_delivery.workloads import Workloads
from testbed.cluster import binaries
from testbed.cluster.control_plane import HERE, ControlPlane, control_plane
from testbed.cluster.machine import run
from testbed.cluster.workloads import COMPUTE, MLFLOW, PROJECT_ID
from tests.cluster.conftest import QUICKSTART

COMPONENT: Final = QUICKSTART.parents[1] / "components" / "shared-volume"
PAGE: Final = QUICKSTART.parents[2] / "docs" / "how-to" / "operate-webhook.md"
FILL, SYNC = "model-api-fill", "model-api-sync"
NAMED: Final = {name: name[0] * 32 for name in ("pod", "deployment", "statefulset", "ended", "nothing")}
PATHS: Final = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
}

Json = dict[str, Any]


def overlay(directory: Path, quickstart: Path) -> Path:
    """Write an admin's overlay: the page's patches, the quickstart's MLflow, and this component."""
    block = PAGE.read_text().partition("## Models on a shared claim")[2].partition("```yaml\n")[2].partition("```")[0]
    block = block.replace("66c0a1b2c3d4e5f601234567", PROJECT_ID)
    own = yaml.safe_load(block.replace(f"model-api-gate.{MLFLOW}", f"mlflow.{MLFLOW}"))
    own["resources"] = [os.path.relpath(quickstart.resolve(), directory.resolve())]
    own["components"] = [os.path.relpath(COMPONENT, directory.resolve())]
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return directory


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ControlPlane, Path]]:
    """An API server with the objects of the component, and workloads that name runs."""
    folder = tmp_path_factory.mktemp("plane")
    with control_plane(folder) as started:
        started.create("/api/v1/namespaces", {"metadata": {"name": COMPUTE}})
        text = run(binaries.build() / "kubectl", "kustomize", overlay(tmp_path_factory.mktemp("overlay"), QUICKSTART))
        for one in yaml.safe_load_all(text):
            if one["metadata"].get("namespace") == COMPUTE and one["metadata"]["name"].startswith("model-api-"):
                started.create(PATHS[one["kind"]].format(COMPUTE), one)
        started.create(PATHS["ServiceAccount"].format(COMPUTE), {"metadata": {"name": "other"}})
        for path, workload in workloads():
            started.create(path.format(COMPUTE), workload)
        ended = f"/api/v1/namespaces/{COMPUTE}/pods/ended/status"
        patch = {"Content-Type": "application/merge-patch+json"}
        started.client.patch(ended, json={"status": {"phase": "Succeeded"}}, headers=patch).raise_for_status()
        yield started, folder


def workloads() -> Iterator[tuple[str, Json]]:
    """Yield objects that mount models, each of another run."""
    for name in ("pod", "ended"):
        spec = template(NAMED[name])["spec"] | {"serviceAccountName": "other"}
        yield "/api/v1/namespaces/{}/pods", {"metadata": {"name": name}, "spec": spec}
    for kind in ("deployment", "statefulset"):
        content = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template(NAMED[kind])}
        yield f"/apis/apps/v1/namespaces/{{}}/{kind}s", {"metadata": {"name": kind}, "spec": content}


def template(run_id: str) -> Json:
    mount = {"name": "m", "mountPath": "/m", "subPath": f"jane.doe/{run_id}/artifacts/model"}
    container = {"name": "model", "image": "model", "volumeMounts": [mount]}
    volume = {"name": "m", "persistentVolumeClaim": {"claimName": "mlflow-models"}}
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container], "volumes": [volume]}}


def account(plane: ControlPlane, folder: Path, name: str, place: Path) -> Workloads:
    """Return the workloads as a pod of the service account sees them."""
    path = f"{PATHS['ServiceAccount'].format(COMPUTE)}/{name}/token"
    place.mkdir()
    (place / "token").write_text(plane.create(path, {"spec": {"expirationSeconds": 600}})["status"]["token"])
    (place / "namespace").write_text(COMPUTE)
    (place / "ca.crt").write_bytes((folder / "ca.crt").read_bytes())
    port = str(plane.client.base_url.port)
    return Workloads.of_this_pod({"KUBERNETES_SERVICE_HOST": HERE, "KUBERNETES_SERVICE_PORT": port}, place)


def test_sync_sees_each_kind_of_workload_and_no_pod_that_has_ended(
    plane: tuple[ControlPlane, Path], tmp_path: Path
) -> None:
    found = account(*plane, SYNC, tmp_path / "account").naming(NAMED.values(), Deadline(Limits()))

    assert found == {NAMED[name] for name in ("pod", "deployment", "statefulset")}


def test_sync_may_read_nothing_else(plane: tuple[ControlPlane, Path], tmp_path: Path) -> None:
    account(*plane, SYNC, tmp_path / "account")
    token = (tmp_path / "account" / "token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    context = ssl.create_default_context(cafile=str(plane[1] / "ca.crt"))  # without the admin's certificate
    for path in (
        "/api/v1/namespaces/{}/secrets",
        "/api/v1/namespaces/{}/configmaps",
        "/api/v1/namespaces/{}/pods/pod",
        "/api/v1/pods",
    ):
        address = plane[0].client.base_url.join(path.format(COMPUTE))
        answer = httpx.get(address, headers=headers, verify=context)
        assert answer.status_code == 403, path


def test_account_without_the_rights_is_told_what_it_needs(plane: tuple[ControlPlane, Path], tmp_path: Path) -> None:
    other = account(*plane, "other", tmp_path / "account")
    with pytest.raises(DeliveryError, match="the service account must be able to list these objects") as refused:
        other.naming(NAMED.values(), Deadline(Limits()))

    assert refused.value.exit_code == ExitCode.NOT_AUTHORISED


def test_pods_of_job_and_cron_job_are_the_same_and_may_list_workloads_only(tmp_path: Path) -> None:
    text = run(binaries.build() / "kubectl", "kustomize", overlay(tmp_path, QUICKSTART))
    objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}
    template = objects["Job", FILL]["spec"]["template"]

    assert template == objects["CronJob", SYNC]["spec"]["jobTemplate"]["spec"]["template"]
    assert objects["ConfigMap", f"{SYNC}-settings"]["data"] == {TRACKING_URI: f"http://mlflow.{MLFLOW}.svc:5000"}
    assert template["spec"]["containers"][0]["image"] == "model-api-delivery:0.1.0"
    assert [rule["verbs"] for rule in objects["Role", SYNC]["rules"]] == [["list"], ["list"]]
    assert not [rule for rule in objects["Role", SYNC]["rules"] if "secrets" in rule["resources"]]
