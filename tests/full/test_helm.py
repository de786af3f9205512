"""The Helm chart on a cluster: the commands of the page as typed, and the way from kustomize to Helm and back."""

import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from model_contract.model_ref import ModelRef
from testbed.cluster.kube import Kube
from testbed.cluster.load import Outcome, pods_at
from testbed.cluster.workloads import COMPUTE, MLFLOW, PLATFORM, literals, model_pod
from testbed.helm import program
from tests.api_server.test_chart import LEFT_OUT, MANIFESTS
from tests.cluster.test_model_pods import predict

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "install-with-helm.md"
QUICKSTART = MANIFESTS / "overlays" / "quickstart"
RATE = 20  # pods a second
OURS = "app.kubernetes.io/part-of=mlflow-model-api"
OBJECTS = "all,configmap,secret,serviceaccount,role,rolebinding,networkpolicy,pdb"
CLUSTER_OBJECTS = (
    "mutatingwebhookconfiguration,validatingadmissionpolicy,validatingadmissionpolicybinding,clusterrole,"
    "clusterrolebinding"
)


def nothing_installed(kube: Kube) -> None:
    """Remove what other tests have left: Helm takes over no object that it has not made."""
    for namespace in (PLATFORM, COMPUTE, MLFLOW):
        kube("delete", "namespace", namespace, "--ignore-not-found", "--wait=true")
    kube("delete", CLUSTER_OBJECTS, "-l", OURS)


@pytest.fixture(scope="module")
def walk(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Walk"]:
    """The cluster with an MLflow, and a folder in which an admin types commands."""
    nothing_installed(kube)
    folder = tmp_path_factory.mktemp("walk")
    (folder / "bin").mkdir()
    (folder / "bin" / "helm").symlink_to(program())
    (folder / "bin" / "kubectl").symlink_to(shutil.which(kube.program) or kube.program)
    for name in ("charts", "manifests"):
        (folder / name).symlink_to(ROOT / name)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MLFLOW}})
    yield Walk(kube=kube, folder=folder)
    nothing_installed(kube)


class Walk:
    """An admin at the command line of the cluster."""

    def __init__(self, *, kube: Kube, folder: Path) -> None:
        self.kube, self.folder = kube, folder

    def type(self, *blocks: str) -> str:
        """Type the blocks of a page, and return what they print. Raises AssertionError if one fails."""
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            env={**self.kube.environment, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def quickstart(self, *, of_mlflow: bool) -> None:
        """Apply the quickstart's own MLflow, or its training and model API."""
        built = yaml.safe_load_all(self.kube("kustomize", QUICKSTART))
        ours = [one for one in built if (one["kind"], one["metadata"]["name"]) in LEFT_OUT]
        self.kube.apply(*(one for one in ours if (one["metadata"]["namespace"] == MLFLOW) is of_mlflow))


def blocks(heading: str) -> list[str]:
    """Return the commands below a heading of the page."""
    section = HOW_TO.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^ *```\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for text in found]


def nothing_lost(outcome: Outcome) -> None:
    assert (outcome.refused, outcome.bare_seconds) == ([], [])
    assert outcome.count > RATE


def trained(kube: Kube) -> ModelRef:
    kube("-n", COMPUTE, "wait", "--for=condition=Complete", "job/train-wine-quality", "--timeout=300s")
    kube.rolled_out(COMPUTE, "wine-quality", seconds=300)
    found = kube.get("-n", COMPUTE, "configmap", "wine-quality-model")["data"]
    return ModelRef(name="wine-quality", version=found["version"], owner="jane.doe", run_id=found["run_id"])


def test_commands_of_the_page_install_upgrade_and_uninstall(walk: Walk) -> None:
    kube = walk.kube
    walk.quickstart(of_mlflow=True)
    kube.rolled_out(MLFLOW, "mlflow", seconds=300)

    checked = walk.type(*blocks("Install"))
    assert "admission in domino-compute" in checked
    assert "Phase:          Succeeded" in checked or "Phase: Succeeded" in checked
    walk.quickstart(of_mlflow=False)
    wine = trained(kube)
    assert predict(kube, "wine-quality") > 0

    with pods_at(RATE, model_pod("many", literals(wine)), kube.kubeconfig) as outcome:
        walk.type(*blocks("Upgrade"))
        kube.rolled_out(PLATFORM, "model-api-webhook")
    nothing_lost(outcome)

    walk.type(*blocks("Uninstall"))
    kube("-n", PLATFORM, "wait", "--for=delete", "pod", "--all", "--timeout=120s")  # Helm waits for their Deployment
    left = kube("-n", PLATFORM, "get", OBJECTS, "-l", OURS, "-o", "name")
    assert left + kube("get", CLUSTER_OBJECTS, "-l", OURS, "-o", "name") == ""


def test_way_from_kustomize_to_helm_and_back_drops_no_pod(walk: Walk) -> None:
    kube = walk.kube
    kube("apply", "-k", MANIFESTS / "overlays" / "standalone")
    kube.rolled_out(PLATFORM, "model-api-webhook")
    walk.quickstart(of_mlflow=True)
    walk.quickstart(of_mlflow=False)
    wine = trained(kube)
    pods = pod_names(kube)
    diff, take_over, back = blocks("From kustomize to Helm, and back")
    (walk.folder / "values.yaml").write_text((ROOT / "charts/mlflow-model-api/values/standalone.yaml").read_text())

    with pods_at(RATE, model_pod("many", literals(wine)), kube.kubeconfig) as outcome:
        differences = walk.type(f"{diff.strip()} || true", take_over)
        taken = pod_names(kube)
        walk.type(*blocks("Upgrade"))
        kube.rolled_out(PLATFORM, "model-api-webhook")
        upgraded = pod_names(kube)
        walk.type(back.replace("<your overlay>", "manifests/overlays/standalone"))
        kube.rolled_out(PLATFORM, "model-api-webhook")
    nothing_lost(outcome)
    assert "model-api-webhook-settings" in differences
    assert "Deployment" not in differences.partition("Release")[0]
    assert taken == pods
    assert upgraded.isdisjoint(pods)
    assert kube("-n", PLATFORM, "get", "secret", "-l", "owner=helm", "-o", "name") == ""


def pod_names(kube: Kube) -> set[str]:
    """Return the names of the webhook's pods that are not ending."""
    found = kube.items("-n", PLATFORM, "pod", "-l", "app.kubernetes.io/name=model-api-webhook")
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}
