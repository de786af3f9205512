"""One cluster for all of these tests, with the quickstart in it: a real API server, kubelet and containerd."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from lightkube import Client, KubeConfig

from model_contract.model_ref import ModelRef
from testbed.cluster.kube import Kube, cluster, unavailable_reason
from testbed.cluster.workloads import COMPUTE, NATIVE, PLATFORM, WEBHOOK, delete_workloads, scale_webhook
from webhook.certificates.cluster import ClusterObjects

QUICKSTART = Path(__file__).parents[2] / "manifests" / "overlays" / "quickstart"
REASON = unavailable_reason()

if REASON and os.environ.get("CI") == "true":
    raise pytest.UsageError(f"the cluster's tests cannot run: {REASON}")
collect_ignore_glob = ["test_*.py"] if REASON else []


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    with cluster() as found:
        yield found


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart with one pod of the webhook and one of the model API, which is not compared with MLflow's loader.

    A second pod, and a comparison, take seconds of processor; `test_kserve` has a comparison.
    """
    folder = tmp_path_factory.mktemp("quickstart")
    one_each = [{"name": name, "count": 1} for name in (WEBHOOK, "wine-quality")]
    containers = [{"name": "model", "env": [NATIVE]}]
    model_api = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "wine-quality", "namespace": COMPUTE},
        "spec": {"template": {"spec": {"containers": containers}}},
    }
    overlay = {
        "resources": [os.path.relpath(QUICKSTART, folder.resolve())],
        "replicas": one_each,
        "patches": [{"patch": yaml.safe_dump(model_api)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return folder


@pytest.fixture(scope="session")
def installed(kube: Kube, quickstart: Path) -> Kube:
    """The cluster with the quickstart, whose model API answers."""
    return install(kube, quickstart)


def install(kube: Kube, quickstart: Path) -> Kube:
    kube("apply", "-k", quickstart)
    kube.rolled_out(PLATFORM, WEBHOOK)
    kube("-n", COMPUTE, "wait", "--for=condition=Complete", "job/train-wine-quality", "--timeout=180s")
    kube.rolled_out(COMPUTE, "wine-quality")
    return kube


@pytest.fixture(scope="module")
def two_pods(installed: Kube) -> Iterator[None]:
    """As many pods of the webhook as the manifests have, until the module's tests have ended."""
    scale_webhook(installed, 2)
    yield
    scale_webhook(installed, 1)


@pytest.fixture
def quiet(installed: Kube) -> Iterator[Kube]:
    """The installation; workloads of a test are deleted after it, and no test waits for that."""
    yield installed
    delete_workloads(installed)


@pytest.fixture(scope="session")
def wine(installed: Kube) -> ModelRef:
    """The model that the quickstart's Job has trained."""
    return trained(installed)


def trained(installed: Kube) -> ModelRef:
    published = installed.get("-n", COMPUTE, "configmap", "wine-quality-model")["data"]
    return ModelRef(name="wine-quality", version=published["version"], owner="jane.doe", run_id=published["run_id"])


@pytest.fixture
def api(installed: Kube) -> Iterator[ClusterObjects]:
    """The webhook's Secret and registration, as the webhook itself reads and writes them."""
    with Client(KubeConfig.from_file(installed.kubeconfig)) as client:
        yield ClusterObjects(client, PLATFORM)
