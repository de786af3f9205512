"""What the gate asks MLflow itself: the state of a version, and whose an object is. Every answer is read from MLflow's own, never guessed.

An object's project is the tag `mlflow.domino.project_id` of the version, else of the registered model, else of the experiment; nobody but
the gate writes it there.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.errors import Unavailable

Json = dict[str, Any]
# Method, path with query, body; the answer's status and body.
Call = Callable[[str, str, bytes | None], Awaitable[tuple[int, bytes]]]
API: Final = "/api/2.0/mlflow"
PAGE: Final = 1000  # versions or models in one answer
ACTIVE: Final = ("Staging", "Production")
PROXIED: Final = re.compile(r"mlflow-artifacts:(?://[^/]*)?/+(.*)")
LOGGED_MODEL: Final = re.compile(r"models:/(m-[0-9a-f]+)")
RUN: Final = re.compile(r"runs:/([^/]+)(?:/.*)?")
MOST_STEPS: Final = 4  # from a version that is a copy of a copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model, as MLflow has it. `project` is its own tag's."""

    name: str
    version: str
    stage: str
    status: str
    source: str
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model: its tags, and which version each alias means."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]


class Registry:
    """Reads through the connection that the gate has to MLflow."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def version(self, name: str, version: str) -> Version | None:
        """None where it is not there. Every method raises Unavailable where MLflow does not answer."""
        found = await self.raw_version(name, version)
        return _version(found) if found else None

    async def raw_version(self, name: str, version: str) -> Json | None:
        """As MLflow answers."""
        found = await self._get(f"{API}/model-versions/get", name=name, version=version)
        raw: Json | None = found["model_version"] if found else None
        return raw

    async def model(self, name: str) -> Model | None:
        found = await self._get(f"{API}/registered-models/get", name=name)
        if not found:
            return None
        model = found["registered_model"]
        aliases = {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])}
        return Model(name=model["name"], tags=_tags(model), aliases=aliases)

    async def versions(self, filter_: str | None = None) -> list[Version]:
        """All that fit. MLflow leaves their aliases out here."""
        return [_version(found) async for found in self._pages("model-versions/search", "model_versions", filter_)]

    async def aliased(self) -> set[tuple[str, str]]:
        """Name and version of all that some alias means."""
        models = [found async for found in self._pages("registered-models/search", "registered_models", None)]
        return {(model["name"], str(alias["version"])) for model in models for alias in model.get("aliases", [])}

    async def _pages(self, path: str, key: str, filter_: str | None) -> AsyncIterator[Json]:
        token = ""
        while True:
            parts = {"max_results": str(PAGE)} | ({"filter": filter_} if filter_ else {}) | ({"page_token": token} if token else {})
            answer = await self._get(f"{API}/{path}", **parts) or {}
            for found in answer.get(key, []):
                yield found
            token = answer.get("next_page_token", "")
            if not token:
                return

    async def versions_of(self, name: str) -> list[Version]:
        quoted = name.replace("'", "''")
        return [found for found in await self.versions(f"name='{quoted}'") if found.name == name]

    async def project_of_model(self, name: str) -> str | None:
        model = await self.model(name)
        return model.tags.get(TAG_PROJECT_ID) if model and model.name == name else None

    async def projects_of_models(self, names: Sequence[str]) -> dict[str, str | None]:
        """Of those that are there, and of any other that MLflow takes for one of them. MLflow 2 reads no filter of several names."""
        if not names:
            return {}
        if len(names) == 1:
            return {names[0]: await self.project_of_model(names[0])}
        listed = ",".join(f"'{name}'" for name in names)
        pages = self._pages("registered-models/search", "registered_models", f"name IN ({listed})")
        return {found["name"]: _tags(found).get(TAG_PROJECT_ID) async for found in pages}

    async def project_of_version(self, version: Version) -> str | None:
        if project := version.tags.get(TAG_PROJECT_ID):
            return project
        if project := await self.project_of_model(version.name):
            return project
        return await self.project_of_run(version.run_id) if version.run_id else None

    async def raw_run(self, run_id: str) -> Json | None:
        """MLflow's whole answer."""
        return await self._get(f"{API}/runs/get", run_id=run_id)

    async def experiment_of_run(self, run_id: str) -> str | None:
        found = await self.raw_run(run_id)
        return experiment_of(found) if found else None

    async def artifacts_of_run(self, run_id: str) -> str | None:
        """Below the root of the artifacts that go through MLflow."""
        found = await self.raw_run(run_id)
        return proxied(found["run"]["info"].get("artifact_uri", "")) if found else None

    async def project_of_run(self, run_id: str) -> str | None:
        experiment = await self.experiment_of_run(run_id)
        return await self.project_of_experiment(experiment) if experiment else None

    async def project_of_experiment(self, experiment_id: str) -> str | None:
        found = await self._get(f"{API}/experiments/get", experiment_id=experiment_id)
        return _tags(found["experiment"]).get(TAG_PROJECT_ID) if found else None

    async def logged_model(self, model_id: str) -> Json | None:
        """`info` of MLflow 3's logged model."""
        if not re.fullmatch(r"m-[0-9a-f]{1,64}", model_id):
            return None
        found = await self._get(f"{API}/logged-models/{model_id}")
        info: Json | None = found["model"]["info"] if found else None
        return info

    async def project_of_logged_model(self, model_id: str) -> str | None:
        info = await self.logged_model(model_id)
        return await self.project_of_experiment(str(info["experiment_id"])) if info else None

    async def artifacts_of_logged_model(self, model_id: str) -> str | None:
        info = await self.logged_model(model_id)
        return proxied(info["artifact_uri"]) if info else None

    async def project_of_artifact(self, path: str) -> str | None:
        experiment = self.experiment_of_artifact(path)
        return await self.project_of_experiment(experiment) if experiment else None

    @staticmethod
    def experiment_of_artifact(path: str) -> str | None:
        """The first part of a path in MLflow's artifacts; None for the root, and for an experiment's whole folder."""
        experiment, _, rest = path.partition("/")
        return experiment if rest and experiment.isdigit() else None

    async def location(self, version: Version) -> str | None:
        """Where a version's files lie below the root of the artifacts that go through MLflow; None where they lie elsewhere."""
        found = await self._get(f"{API}/model-versions/get-download-uri", name=version.name, version=version.version)
        return await self._resolved((found or {}).get("artifact_uri", ""), MOST_STEPS)

    async def _resolved(self, uri: str, steps: int) -> str | None:
        if (place := proxied(uri)) is not None or not steps:
            return place
        if found := LOGGED_MODEL.fullmatch(uri):
            info = await self.logged_model(found[1])
            return await self._resolved(info["artifact_uri"], steps - 1) if info else None
        if found := RUN.fullmatch(uri):
            root = await self.artifacts_of_run(found[1])
            return None if root is None else f"{root}/{uri.removeprefix(f'runs:/{found[1]}').strip('/')}".rstrip("/")
        return None

    async def promoted(self) -> dict[str, Version]:
        """Where the files of every version in Staging or Production, or behind an alias, lie."""
        found = {}
        aliased = await self.aliased()
        for version in await self.versions():
            if version.stage in ACTIVE or (version.name, version.version) in aliased:
                if place := await self.location(version):
                    found[place] = version
                if version.model_id and (place := await self.artifacts_of_logged_model(version.model_id)):
                    found[place] = version
        return found

    async def _get(self, path: str, **query: str) -> Json | None:
        """None for what MLflow does not have."""
        status, body = await self._call("GET", f"{path}?{urlencode(query)}" if query else path, None)
        answer = parsed(body)
        if status == HTTPStatus.OK and answer is not None:
            return answer
        code = (answer or {}).get("error_code")
        if code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND"} or (
            status == HTTPStatus.NOT_FOUND and answer is None
        ):
            return None
        raise Unavailable(f"MLflow answered {status} to a question of the gate")


def parsed(body: bytes) -> Json | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def experiment_of(run: Json) -> str:
    """Of an answer about a run."""
    return str(run["run"]["info"]["experiment_id"])


def proxied(uri: str) -> str | None:
    """`1/models/m-x/artifacts` of `mlflow-artifacts:/1/models/m-x/artifacts`."""
    found = PROXIED.fullmatch(uri)
    return found[1].strip("/") if found else None


def _version(found: Json) -> Version:
    return Version(
        name=found["name"],
        version=str(found["version"]),
        stage=found.get("current_stage", "None"),
        status=found.get("status", "READY"),
        source=found.get("source", ""),
        run_id=found.get("run_id", ""),
        model_id=found.get("model_id", ""),
        aliases=tuple(found.get("aliases", ())),
        tags=_tags(found),
    )


def _tags(found: Json) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}
