from dataclasses import dataclass, field

import pytest

from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.listed_model import ListedFile, Listing
from model_delivery.mlflow_api import Run
from model_delivery.source import artifact_path, artifacts_of, proxied_path


@dataclass
class Registry:
    """A registry that answers from tables."""

    versions: dict[tuple[str, str], str]
    logged_models: dict[str, str] = field(default_factory=dict)
    directories: dict[str, Listing] = field(default_factory=dict)
    by_run: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def download_uri(self, name: str, version: str) -> str:
        self.asked.append(f"{name}/{version}")
        return self.versions[name, version]

    def logged_model_uri(self, model_id: str) -> str:
        return self.logged_models[model_id]

    def run(self, run_id: str) -> Run:
        return Run(experiment_id="1", artifact_uri=f"mlflow-artifacts:/1/{run_id}/artifacts")

    def logged_model_of_run(self, run_id: str, experiment_id: str, name: str) -> str | None:
        return self.by_run.get((run_id, name))

    def list(self, path: str) -> Listing:
        self.asked.append(path)
        return self.directories.get(path, Listing(files=(), directories=()))


ONE_FILE = Listing(files=(ListedFile(path="MLmodel", size=1),), directories=())


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("mlflow-artifacts:/1/models/m-1/artifacts", "1/models/m-1/artifacts"),
        ("mlflow-artifacts:/1/r/artifacts/my model?#%", "1/r/artifacts/my model?#%"),
        ("mlflow-artifacts:///1/r/artifacts/model/", "1/r/artifacts/model"),
        ("mlflow-artifacts://mlflow:5000/1/r/artifacts/model", "1/r/artifacts/model"),
        ("mlflow-artifacts://mlflow/api/2.0/mlflow-artifacts/artifacts/1/r", "1/r"),
        ("http://mlflow:5000/api/2.0/mlflow-artifacts/artifacts/1/r", "1/r"),
        ("https://host/mlflow/api/2.0/mlflow-artifacts/artifacts/1/r", "1/r"),
        ("s3://bucket/key", None),
        ("runs:/r/model", None),
    ],
)
def test_a_uri_behind_mlflow_is_a_path(uri: str, path: str | None) -> None:
    assert proxied_path(uri) == path


@pytest.mark.parametrize(
    "uri",
    ["mlflow-artifacts:/../etc", "mlflow-artifacts:/1//2", "mlflow-artifacts:/", "mlflow-artifacts:/a\0b"],
    ids=ascii,
)
def test_a_path_that_leaves_its_root_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="refused as a file name"):
        proxied_path(uri)


def test_an_address_of_something_else_is_refused_without_its_secrets() -> None:
    with pytest.raises(
        InvalidInputError, match=r"https://files.example/x\", which is not MLflow's artifact store"
    ) as refused:
        proxied_path("https://user:hunter2@files.example/x?signature=hunter3")

    assert "hunter" not in str(refused.value)


def test_copies_of_copies_are_followed_to_the_files() -> None:
    registry = Registry(
        {("c", "1"): "models:/b/2", ("b", "2"): "models:/m-7"},
        logged_models={"m-7": "mlflow-artifacts:/1/models/m-7/artifacts"},
    )

    assert artifact_path(registry, "c", "1") == "1/models/m-7/artifacts"


def test_a_circle_of_copies_is_left() -> None:
    with pytest.raises(InvalidInputError, match="leads from one model to another, more than 4 times"):
        artifact_path(Registry({("a", "1"): "models:/b/1", ("b", "1"): "models:/a/1"}), "a", "1")


def test_the_files_of_a_run_are_found_with_the_run() -> None:
    registry = Registry(
        {("a", "1"): "runs:/r/model"}, directories={"1/r/artifacts/model": ONE_FILE}, by_run={("r", "model"): "other:/"}
    )

    assert artifact_path(registry, "a", "1") == "1/r/artifacts/model"


@pytest.mark.parametrize(
    ("path", "below"), [("model", ""), ("model/sub/dir", "/sub/dir")], ids=["whole", "a directory of it"]
)
def test_the_files_of_a_run_are_found_with_its_logged_model(path: str, below: str) -> None:
    registry = Registry(
        {("a", "1"): f"runs:/r/{path}"}, by_run={("r", "model"): "mlflow-artifacts:/1/models/m-7/artifacts"}
    )

    assert artifact_path(registry, "a", "1") == f"1/models/m-7/artifacts{below}"


@pytest.mark.parametrize("path", ["model", "it's", 'quo"ted', "x.y", ""], ids=ascii)
def test_files_that_do_not_exist_are_not_found(path: str) -> None:
    with pytest.raises(NotFoundError, match="run r has no artifacts and no logged model"):
        artifact_path(Registry({("a", "1"): f"runs:/r/{path}"}), "a", "1")


def test_a_directory_that_was_looked_into_is_not_listed_again() -> None:
    registry = Registry({("a", "1"): "runs:/r/model"}, directories={"1/r/artifacts/model": ONE_FILE})

    path, files = artifacts_of(registry, "a", "1")
    assert (path, tuple(files)) == ("1/r/artifacts/model", ONE_FILE.files)
    assert registry.asked == ["a/1", "1/r/artifacts/model"]


@pytest.mark.parametrize(
    ("source", "asked"), [("runs:/r/model", False), ("models:/b/2", True), ("models:/m-7", True), ("", True)]
)
def test_mlflow_is_asked_for_the_files_of_a_version_only_if_its_source_is_a_model(source: str, asked: bool) -> None:
    """MLflow resolves a model's address when the version is made: the model may be gone by now."""
    registry = Registry({("a", "1"): "runs:/r/model"}, directories={"1/r/artifacts/model": ONE_FILE})

    assert artifacts_of(registry, "a", "1", source)[0] == "1/r/artifacts/model"
    assert ("a/1" in registry.asked) is asked


@pytest.mark.parametrize("uri", ["s3://bucket/key", "dbfs:/x", "ftp://host/x"])
def test_artifacts_that_do_not_come_through_mlflow_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="which is not supported;"):
        artifact_path(Registry({("a", "1"): uri}), "a", "1")


@pytest.mark.parametrize(
    "uri", ["file:///etc", "/srv/mlruns/1/model", "mlruns/1/model", "x", r"C:\models", "C:/models"]
)
def test_artifacts_on_a_disk_are_refused_with_the_way_to_have_them_served(uri: str) -> None:
    with pytest.raises(InvalidInputError, match=r"on the disk of a machine.*log the model again in a new experiment"):
        artifact_path(Registry({("a", "1"): uri}), "a", "1")


@pytest.mark.parametrize(
    "uri", ["models:/a/Production", "models:/a@champion", "models:/m-../x", "runs:/../x", "runs:/"]
)
def test_a_source_that_names_nothing_fixed_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="names no version, logged model or run"):
        artifact_path(Registry({("a", "1"): uri}), "a", "1")


@pytest.mark.parametrize(
    ("count", "reason"),
    [(50_000, "holds more than 100000 files"), (35_000, "take more than 33554432 characters together")],
)
def test_all_directories_of_a_model_together_are_bounded(count: int, reason: str) -> None:
    """Each directory alone is not too large."""
    files = Listing(files=tuple(ListedFile(path=f"f{number}", size=1) for number in range(count)), directories=())
    outer, root = ("a" * 250, "b" * 250), "1/r/artifacts/model"
    inner = Listing(files=(), directories=("c" * 250,))
    found = {root: Listing(files=(), directories=outer)} | {f"{root}/{name}": inner for name in outer}
    found |= {f"{root}/{name}/{'c' * 250}": files for name in outer}
    _, listed = artifacts_of(Registry({("a", "1"): "runs:/r/model"}, directories=found), "a", "1")

    with pytest.raises(InvalidInputError, match=reason):
        list(listed)
