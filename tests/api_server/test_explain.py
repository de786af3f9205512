"""`explain` of objects that it reads from a cluster: an API server without a node."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_contract.model_ref import ModelRef
from model_contract.names import ENABLED_LABEL
from testbed.cluster.control_plane import ControlPlane, control_plane
from testbed.cluster.workloads import COMPUTE, literals, model_pod
from testbed.forward_proxy import forward_proxy
from testbed.processes import completed, installed
from testbed.webhook_server import OF_COMMANDS

MODEL = literals(ModelRef(name="wine", version="3", owner="jane.doe", run_id="5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"))
GROUPS = {
    "pods": "/api/v1",
    "replicationcontrollers": "/api/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "cronjobs": "/apis/batch/v1",
}

Json = dict[str, Any]


def spec_of(kind: str) -> Json:
    """Return the spec of an object of that kind whose pods are a model API."""
    pod = model_pod("wine", MODEL)
    template = {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}
    never = {"metadata": template["metadata"], "spec": template["spec"] | {"restartPolicy": "Never"}}
    if kind == "pods":
        return template["spec"]
    if kind == "jobs":
        return {"template": never}
    if kind == "cronjobs":
        return {"schedule": "@daily", "jobTemplate": {"spec": {"template": never}}}
    selector = {"app": "wine"}
    return {
        "selector": selector if kind == "replicationcontrollers" else {"matchLabels": selector},
        "template": template,
        **({"serviceName": "wine"} if kind == "statefulsets" else {}),
    }


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as started:
        labels = {ENABLED_LABEL: "true"}
        started.create("/api/v1/namespaces", {"metadata": {"name": COMPUTE, "labels": labels}})
        account = {"metadata": {"name": "default"}}
        started.create(f"/api/v1/namespaces/{COMPUTE}/serviceaccounts", account)
        yield started


@pytest.mark.parametrize("kind", GROUPS)
def test_object_of_the_cluster_is_explained(plane: ControlPlane, kind: str) -> None:
    metadata = {"name": "wine", "labels": model_pod("wine", MODEL)["metadata"]["labels"]}
    plane.create(f"{GROUPS[kind]}/namespaces/{COMPUTE}/{kind}", {"metadata": metadata, "spec": spec_of(kind)})
    done = explained(plane.kubeconfig, f"{kind.removesuffix('s')}/wine")

    assert (done.returncode, done.stderr) == (0, "")
    assert "injected (rule B0)" in done.stdout


def test_cluster_is_reached_through_the_proxy_of_the_kubeconfig(plane: ControlPlane, tmp_path: Path) -> None:
    content = yaml.safe_load(plane.kubeconfig.read_text())
    (cluster,) = content["clusters"]
    with forward_proxy() as proxy:
        cluster["cluster"]["proxy-url"] = f"http://127.0.0.1:{proxy.server_port}"
        kubeconfig = tmp_path / "config"
        kubeconfig.write_text(yaml.safe_dump(content))
        done = explained(kubeconfig, "pod/nothing")

    assert f"there is no pod/nothing in namespace {COMPUTE}" in done.stderr
    assert [line.split()[0] for line, _ in proxy.read] == ["CONNECT"]


def explained(kubeconfig: Path, title: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [installed("model-api-webhook"), "explain", title, "--namespace", COMPUTE]
    return completed(command, env=os.environ | {"KUBECONFIG": str(kubeconfig)}, imported=OF_COMMANDS)
