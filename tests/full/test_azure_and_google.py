"""Files at addresses of Azure's and Google's stores, on their emulators; S3 has each fault in its own tests."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_delivery.deadline import Deadline, Limits
from model_delivery.object_store_settings import ObjectStoreSettings
from model_delivery.object_stores import ObjectStores
from testbed.azure_server import azure_server
from testbed.delivery import Delivery
from testbed.fake_gcs_server import fake_gcs_server, put_object
from testbed.faults import cut, first, only
from testbed.mlflow_server import MlflowServer
from testbed.object_stores import register, upload
from testbed.reverse_proxy import ReverseProxy, reverse_proxy
from tests.model_delivery.test_fetch import MIB
from tests.model_delivery.test_object_stores import FILES, WEIGHTS, arrived
from tests.model_delivery.test_presigned import asked_for
from tests.model_delivery.test_ranges import SECOND

WASBS = "wasbs://models@devstoreaccount1.blob.core.windows.net"
ABFSS = "abfss://models@devstoreaccount1.dfs.core.windows.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store with a model at `root`/model, behind a proxy for faults."""

    root: str
    proxy: ReverseProxy
    environment: Mapping[str, str]
    change: Callable[[], None]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with azure_server(tmp_path_factory.mktemp("azure")) as server:
        origin, _, account = server.endpoint.rpartition("/")
        container = server.container("models")
        upload(container, "model", FILES)
        with reverse_proxy(origin, keep_host=True) as proxy:
            yield Store(
                root=WASBS,
                proxy=proxy,
                environment={**server.environment, "AZURE_STORAGE_ENDPOINT": f"{proxy.uri}/{account}"},
                change=lambda: upload(container, "model", {"MLmodel": FILES["MLmodel"][::-1]}),
            )


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    directory = tmp_path_factory.mktemp("gcs")
    for path, content in FILES.items():
        file = directory / "models" / "model" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with fake_gcs_server(directory) as endpoint, reverse_proxy(endpoint) as proxy:
        yield Store(
            root="gs://models",
            proxy=proxy,
            environment={"GOOGLE_BASE_URL": proxy.uri, "GOOGLE_BEARER_TOKEN": "testbed-gcs-token"},
            change=lambda: put_object(endpoint, "models", "model/MLmodel", FILES["MLmodel"][::-1]),
        )


@pytest.fixture(params=["azure", "google"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    found.proxy.rules = ()
    return found


def delivery_of(directory: Path, mlflow: MlflowServer, store: Store) -> Delivery:
    environment = {**store.environment, "MODEL_API_OBJECT_STORES": f"{store.root},{ABFSS}"}
    return Delivery(directory=directory, uri=mlflow.uri, environment=environment)


def test_a_model_comes_whole_although_a_range_was_cut(tmp_path: Path, mlflow_3_17: MlflowServer, store: Store) -> None:
    store.proxy.rules = [only(WEIGHTS, asked_for(SECOND, first(1, cut(5 * MIB))))]
    ref = register(mlflow_3_17.uri, f"cut {store.root.partition(':')[0]}", f"{store.root}/model")
    ended = delivery_of(tmp_path, mlflow_3_17, store).fetch(ref)

    assert ended.code == ExitCode.DONE, ended.output
    assert arrived(tmp_path, ref)
    assert all(secret not in ended.output for secret in store.environment.values())


def test_a_file_that_is_changed_after_it_was_listed_ends_the_fetch(
    tmp_path: Path, mlflow_3_17: MlflowServer, store: Store
) -> None:
    def change(_: object) -> bool:
        store.change()
        return False

    store.proxy.rules = [only("MLmodel", first(1, change))]
    ref = register(mlflow_3_17.uri, f"changed {store.root.partition(':')[0]}", f"{store.root}/model")
    ended = delivery_of(tmp_path, mlflow_3_17, store).fetch(ref)

    assert ended.code == ExitCode.PRECONDITION, ended.output
    assert "was changed after it was listed" in ended.reason


def test_an_address_with_the_host_of_azures_file_system_names_the_same_files(
    azure: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)  # obstore reads those of the process
    settings = ObjectStoreSettings.from_environment({**azure.environment, "MODEL_API_OBJECT_STORES": ABFSS})
    files = ObjectStores(settings, Deadline(Limits(tries=1))).files(f"{ABFSS}/model")

    assert {file.path: file.size for file in files} == {path: len(content) for path, content in FILES.items()}
