"""Models and versions in MLflow, and the few changes of them. The same for MLflow 2.22 and 3.17."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Self
from urllib.parse import quote

from model_contract.model_ref import ContractError, ModelRef
from model_contract.names import TAG_PROJECT_ID, TAG_USER
from model_delivery.listed_model import Listing
from model_delivery.listing import parse_listing
from model_delivery.mlflow_api import Run
from model_lifecycle.errors import InvalidError, NoRouteError, NotAuthorisedError, NotFoundError, PreconditionError
from model_lifecycle.mlflow_rest import MlflowRest
from model_lifecycle.tracking import Tracking

Json = dict[str, Any]
API: Final = "/api/2.0/mlflow"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
PAGE: Final = 1000  # versions or models in one answer
SINCE_MLFLOW_3: Final = "/api/3.0/mlflow/server-info"
LONGEST_FILTER: Final = 3000  # characters; gunicorn takes a line of 4094
STABLE_ORDER: Final = "creation_timestamp ASC"  # pages do not overlap if a version changes meanwhile
UNQUOTABLE: Final = re.compile(r"['\"\\`%\x00-\x1f\x7f]")  # characters of names that no filter is made of
NO_VERSION: Final = "none"
# The gate refuses the move if another version than this one is in Production by now.
EXPECTED_PRODUCTION_HEADER: Final = "X-Gate-Expect-Production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model. A text is empty if MLflow has none."""

    name: str
    version: str
    stage: str
    status: str
    source: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()  # not in a model's list of versions: MLflow leaves them out there


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model: its tags, the version of each alias, and its versions, the newest first."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    versions: tuple[Version, ...]

    def version(self, number: str) -> Version | None:
        return next((found for found in self.versions if found.version == number), None)

    def in_stage(self, stage: str) -> tuple[str, ...]:
        """Numbers of the versions in a stage, the newest first: MLflow takes the newest for the stage."""
        return tuple(found.version for found in self.versions if found.stage == stage)

    def project_of(self, version: Version) -> str | None:
        return version.tags.get(TAG_PROJECT_ID) or self.tags.get(TAG_PROJECT_ID)

    def owner_of(self, version: Version) -> str:
        """Return the owner by the tags of version and model; empty if they have none."""
        return version.tags.get(TAG_USER) or self.tags.get(TAG_USER) or ""

    def reference(self, version: Version, *, owner: str = "", user: str = "") -> ModelRef:
        """Return the reference of a version. Its owner: `owner` > the tags of version and model > `user`.

        Raises PreconditionError for a version without a run, InvalidError if the owner is not known.
        """
        title = f"{version.name!r} version {version.version}"
        if not version.run_id:
            raise PreconditionError(f"{title} was registered without a run: register what a run has logged")
        if not (found := owner or self.owner_of(version) or user):
            raise InvalidError(f"the owner of {title} is not known: name it with --owner")
        try:
            return ModelRef(name=version.name, version=version.version, owner=found, run_id=version.run_id)
        except ContractError as error:
            raise InvalidError(str(error)) from error


class Registry:
    """MLflow's registry for one caller; used within `with`.

    Methods raise LifecycleError. Safe to share between threads.
    """

    def __init__(self, tracking: Tracking, headers: Mapping[str, str] | None = None) -> None:
        self.tracking = tracking
        self._rest = MlflowRest(tracking, headers)

    def __enter__(self) -> Self:
        self._rest.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._rest.__exit__(*error)

    def model(self, name: str) -> Model:
        """Return the model with all of its versions: two requests for a usual name. Raises NotFoundError."""
        found = self._object("registered_model", self._rest.get(f"{API}/registered-models/get", name=name))
        return _model(found, self._versions(name, found))

    def models_named(self, names: Iterable[str]) -> dict[str, Model]:
        """Return those of the models that two requests can read for all names.

        MLflow 2 has no such filter, and the gate refuses it if one model is another project's.
        """
        found: dict[str, Model] = {}
        try:
            self._rest.get(SINCE_MLFLOW_3)
            for filter_ in _filters(names):
                versions = defaultdict(list)
                for raw in self._pages(
                    "model-versions/search", "model_versions", filter=filter_, order_by=STABLE_ORDER
                ):
                    versions[raw["name"]].append(_version(raw))
                for raw in self._pages("registered-models/search", "registered_models", filter=filter_):
                    found[raw["name"]] = _model(raw, versions[raw["name"]])
        except (InvalidError, NoRouteError, NotAuthorisedError, NotFoundError):
            pass
        return found

    def version(self, name: str, version: str) -> Version:
        """Return the version. Raises NotFoundError."""
        found = self._rest.get(f"{API}/model-versions/get", name=name, version=version)
        return _version(self._object("model_version", found))

    def models(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Yield name and tags of every registered model. The gate allows it to people, not to tokens."""
        for found in self._pages("registered-models/search", "registered_models"):
            yield found["name"], _tags(found)

    def experiment_of_run(self, run_id: str) -> tuple[str, str | None] | None:
        """Return the experiment's id and its project; None if the run is gone."""
        try:
            experiment_id = self.run(run_id).experiment_id
            answer = self._rest.get(f"{API}/experiments/get", experiment_id=experiment_id)
        except NotFoundError:
            return None
        return experiment_id, _tags(self._object("experiment", answer)).get(TAG_PROJECT_ID)

    def has_deleted_run(self, version: Version) -> bool:
        """Return True if the version's run is deleted; False also if it is gone, or another project's."""
        with suppress(NotFoundError, NotAuthorisedError):
            return bool(version.run_id) and self._run_info(version.run_id).get("lifecycle_stage") == "deleted"
        return False

    def transition(self, version: Version, stage: str, *, archive: bool = False, expected: str | None = None) -> None:
        """Move a version to a stage. Raises UnclearError, too: read the version then.

        `expected` is the version in Production that the caller has planned with.
        """
        body = {"name": version.name, "version": version.version, "stage": stage, "archive_existing_versions": archive}
        self._rest.change(
            "POST",
            f"{API}/model-versions/transition-stage",
            body,
            {} if expected is None else {EXPECTED_PRODUCTION_HEADER: expected},
        )

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self._rest.change("POST", f"{API}/registered-models/alias", {"name": name, "alias": alias, "version": version})

    def delete_alias(self, name: str, alias: str) -> None:
        self._rest.change("DELETE", f"{API}/registered-models/alias", {"name": name, "alias": alias})

    def set_tag(self, version: Version, key: str, value: str) -> None:
        body = {"name": version.name, "version": version.version, "key": key, "value": value}
        self._rest.change("POST", f"{API}/model-versions/set-tag", body)

    def delete_tag(self, version: Version, key: str) -> None:
        self._rest.change(
            "DELETE", f"{API}/model-versions/delete-tag", {"name": version.name, "version": version.version, "key": key}
        )

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        self._rest.change("POST", f"{API}/registered-models/set-tag", {"name": name, "key": key, "value": value})

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        body = {"experiment_id": experiment_id, "key": key, "value": value}
        self._rest.change("POST", f"{API}/experiments/set-experiment-tag", body)

    # Requests of `model_delivery.source`, which finds the files of a version.

    def download_uri(self, name: str, version: str) -> str:
        return _text(
            self._rest.get(f"{API}/model-versions/get-download-uri", name=name, version=version), "artifact_uri"
        )

    def logged_model_uri(self, model_id: str) -> str:
        found = self._object("model", self._rest.get(f"{API}/logged-models/{quote(model_id, safe='')}"))
        return _text(self._object("info", found), "artifact_uri")

    def run(self, run_id: str) -> Run:
        info = self._run_info(run_id)
        return Run(experiment_id=_text(info, "experiment_id"), artifact_uri=_text(info, "artifact_uri"))

    def logged_model_of_run(self, run_id: str, experiment_id: str, name: str) -> str | None:
        query = {"experiment_ids": [experiment_id], "filter": f"name='{name}' AND source_run_id='{run_id}'"}
        try:
            found = self._rest.ask(f"{API}/logged-models/search", query).get("models")
        except NoRouteError:  # MLflow 2 has no such thing
            return None
        return _text(found[0]["info"], "artifact_uri") if found else None

    @property
    def files(self) -> MlflowRest:
        """The client for the bytes of files, below `file_path`."""
        return self._rest

    def _run_info(self, run_id: str) -> Json:
        return self._object("info", self._object("run", self._rest.get(f"{API}/runs/get", run_id=run_id)))

    def _object(self, key: str, answer: Json) -> Json:
        """Return the object under a key of an answer. Raises InvalidError if another server than MLflow answers."""
        found = answer.get(key)
        if not isinstance(found, dict):
            raise InvalidError(f"the answer has no {key}; check that MLflow itself is at {self.tracking.uri}")
        return found

    def _versions(self, name: str, model: Json) -> list[Version]:
        if UNQUOTABLE.search(name):
            return list(self._each_version(name, model))
        pages = self._pages("model-versions/search", "model_versions", filter=f"name='{name}'")
        return [version for raw in pages if (version := _version(raw)).name == name]

    def _each_version(self, name: str, model: Json) -> Iterator[Version]:
        """Yield the versions of a model whose name no filter can hold, with one request each."""
        newest = max((int(version["version"]) for version in model.get("latest_versions", ())), default=0)
        for number in range(1, newest + 1):
            with suppress(NotFoundError):  # it was deleted
                yield self.version(name, str(number))

    def _pages(self, path: str, key: str, **query: str) -> Iterator[Json]:
        token = ""
        while True:
            answer = self._rest.get(
                f"{API}/{path}", max_results=str(PAGE), **query, **({"page_token": token} if token else {})
            )
            yield from answer.get(key, [])
            if not (token := answer.get("next_page_token", "")):
                return

    def list(self, path: str) -> Listing:
        content = self._rest.listing(ARTIFACTS, path=path)
        try:
            return parse_listing([content])
        except ValueError as error:
            raise self._rest.not_mlflow() from error


def _filters(names: Iterable[str]) -> Iterator[str]:
    """Yield filters of as many names as a line of HTTP takes. Names with characters that need quoting are left out."""
    quoted = sorted(f"'{name}'" for name in set(names) if not UNQUOTABLE.search(name))
    while quoted:
        sizes = accumulate(len(quote(name)) + len("%2C") for name in quoted)
        some = max(1, sum(size <= LONGEST_FILTER for size in sizes))
        yield f"name IN ({','.join(quoted[:some])})"
        quoted = quoted[some:]


def _model(found: Json, versions: Iterable[Version]) -> Model:
    aliases = {alias["alias"]: str(alias["version"]) for alias in found.get("aliases", [])}
    newest_first = sorted(versions, key=lambda version: int(version.version), reverse=True)
    return Model(name=found["name"], tags=_tags(found), aliases=aliases, versions=tuple(newest_first))


def file_path(path: str) -> str:
    """Return the path of the request for an artifact."""
    return f"{ARTIFACTS}/{quote(path)}"


def _version(found: Json) -> Version:
    return Version(
        name=found["name"],
        version=str(found["version"]),
        stage=found.get("current_stage") or "None",
        status=found.get("status") or "READY",
        source=found.get("source") or "",
        run_id=found.get("run_id") or "",
        tags=_tags(found),
        aliases=tuple(found.get("aliases", ())),
    )


def _tags(found: Json) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}


def _text(answer: Mapping[str, Any], key: str) -> str:
    text = answer.get(key)
    if not isinstance(text, str) or not text:
        raise InvalidError(f"MLflow's answer has no {key}")
    return text
