"""Models and tables for the tests of Spark and Ray, the S3 server of the delivery's tests, and a cluster with the
controllers of others.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from model_contract.model_ref import ModelRef
from testbed.cluster.kube import Kube, cluster, unavailable_reason
from testbed.cluster.workloads import plain_pod
from testbed.controllers import kserve, registry
from testbed.controllers.load import POD
from testbed.controllers.registry import Registry
from testbed.engines import ROWS, Engines, installed_engines, rows
from tests.cluster.conftest import api, install, quickstart, quiet, trained, two_pods  # noqa: F401  fixtures
from tests.model_delivery.test_object_stores import on_s3, s3_models  # noqa: F401  fixtures

COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "kserve"
# Programs such as cosign compile for a quarter of an hour the first time, and longer on a machine that is busy.
LONGEST = 3600  # seconds of a test with its fixtures
# The parts of these tests that `make test-full` runs side by side: one machine has one cluster.
PARTS = {"cluster": "kube", "engines": "engines"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or Path(__file__).parent not in item.path.parents:
            continue
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))
        for mark, fixture in PARTS.items():
            if fixture in item.fixturenames:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def engines() -> Engines:
    return installed_engines()


@pytest.fixture(scope="session")
def engine_models(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the models that `save_engine_models.py` saves."""
    directory = tmp_path_factory.mktemp("engine-models")
    script = Path(__file__).parent / "scripts" / "save_engine_models.py"
    subprocess.run([engines.python, script, directory], check=True, capture_output=True, cwd=directory)
    return directory


@pytest.fixture
def table(tmp_path: Path) -> Callable[[int], Path]:
    """Write a directory of so many files."""

    def written(files: int) -> Path:
        directory = tmp_path / "rows"
        directory.mkdir()
        for number in range(files):
            parquet.write_table(rows(number * ROWS), directory / f"part-{number}.parquet")
        return directory

    return written


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    if reason := unavailable_reason():
        pytest.fail(f"the cluster cannot run: {reason}")
    with cluster() as found:
        yield found


@pytest.fixture(scope="module")
def installed(kube: Kube, quickstart: Path) -> Kube:  # noqa: F811  the fixture
    """The quickstart, installed again for each file: some files leave the cluster without it."""
    return install(kube, quickstart)


@pytest.fixture(scope="module")
def wine(installed: Kube) -> ModelRef:
    return trained(installed)


@pytest.fixture(scope="session")
def sender(kube: Kube) -> Kube:
    """The cluster with a pod from which requests are sent."""
    pod = plain_pod(POD)
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    kube.apply(pod)
    kube("wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=60s")
    return kube


@pytest.fixture(scope="session")
def models(kube: Kube) -> Registry:
    """MLflow in the cluster, and its address in the namespace of the tests."""
    found = registry.install(kube)
    secret = {"name": "mlflow-credentials", "namespace": "default"}
    address = {"MLFLOW_TRACKING_URI": registry.ADDRESS}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": address})
    return found


@pytest.fixture(scope="session")
def with_kserve(kube: Kube, models: Registry) -> Kube:
    """The cluster with KServe's controller and this project's component for it."""
    kserve.install(kube)
    for name in ("cluster-serving-runtime.yaml", "cluster-storage-container.yaml"):
        kube("apply", "--filename", COMPONENT / name)
    return kube
