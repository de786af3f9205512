"""What the gate asks MLflow itself: the state of a version, and whose an object is. Every answer is read from MLflow's
own, never guessed.

An object's project is the tag `mlflow.domino.project_id` of the version, else of the registered model, else of the
experiment; nobody but the gate writes it there.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.errors import Unavailable
from tracking_gate.mlflow_api import search_filters as filters
from tracking_gate.mlflow_api.artifact_locations import proxied_location

Json = dict[str, Any]
# Method, path with query, body; the answer's status and body.
Call = Callable[[str, str, bytes | None], Awaitable[tuple[int, bytes]]]
API: Final = "/api/2.0/mlflow"
PAGE: Final = 1000  # versions or models in one answer
ACTIVE: Final = ("Staging", "Production")
ALL: Final = "ALL"  # experiments and runs that were deleted too
NO_EXPERIMENT: Final = "2147483647"  # the last one that every database can number
# The questions of one request, counted so that a refusal does not tell by their number what there is.
QUESTIONS: Final[ContextVar[list[str] | None]] = ContextVar("questions", default=None)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment: its project, and the place of its artifacts; None if they do not go through MLflow."""

    id: str
    project: str | None
    location: str | None


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
        """Return all that fit, but for models that MLflow takes for prompts. MLflow leaves their aliases out here."""
        return [_version(found) async for found in self._pages("model-versions/search", "model_versions", filter_)]

    async def all_versions(self) -> list[Version]:
        """Return every version of every model, also of those that a tag of a prompt hides."""
        hidden = {found.name for found in await self.versions(filters.PROMPTS)}
        shown = await self.versions()
        found = [version for name in hidden for version in await self._each_version(name)]
        return [*(version for version in shown if version.name not in hidden), *found]

    async def aliased(self) -> set[tuple[str, str]]:
        """Return name and version of all that some alias means."""
        pages = [
            self._pages("registered-models/search", "registered_models", filter_) for filter_ in (None, filters.PROMPTS)
        ]
        models = [found for page in pages async for found in page]
        return {(model["name"], str(alias["version"])) for model in models for alias in model.get("aliases", [])}

    async def _pages(self, path: str, key: str, filter_: str | None, **query: str) -> AsyncIterator[Json]:
        token = ""
        while True:
            parts = (
                {"max_results": str(PAGE)}
                | query
                | ({"filter": filter_} if filter_ else {})
                | ({"page_token": token} if token else {})
            )
            answer = await self._get(f"{API}/{path}", **parts) or {}
            for found in answer.get(key, []):
                yield found
            token = answer.get("next_page_token", "")
            if not token:
                return

    async def versions_of(self, name: str) -> list[Version]:
        """Return every version of a model. A search shows all of them, or none if one has the tag of a prompt."""
        found = [version for version in await self.versions(filters.of_name(name)) if version.name == name]
        return found or await self._each_version(name)

    async def _each_version(self, name: str) -> list[Version]:
        """Return the versions of a model without a search, one question each."""
        model = await self._get(f"{API}/registered-models/get", name=name)
        latest = (model or {}).get("registered_model", {}).get("latest_versions", [])
        last = max((int(version["version"]) for version in latest), default=0)
        found = [await self.version(name, str(number)) for number in range(1, last + 1)]
        return [version for version in found if version]

    async def project_of_model(self, name: str) -> str | None:
        model = await self.model(name)
        return model.tags.get(TAG_PROJECT_ID) if model and model.name == name else None

    async def projects_of_models(self, names: Sequence[str]) -> dict[str, str | None]:
        """Of those that are there, and of any other that MLflow takes for one of them. MLflow 2 reads no filter of
        several names.
        """
        if not names:
            return {}
        if len(names) == 1:
            return {names[0]: await self.project_of_model(names[0])}
        pages = self._pages("registered-models/search", "registered_models", filters.of_names(names))
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

    async def artifacts_of_run(self, run_id: str) -> str | None:
        """Return the place of a run's files."""
        found = await self.raw_run(run_id)
        return proxied_location(found["run"]["info"].get("artifact_uri", "")) if found else None

    async def project_of_run(self, run_id: str) -> str | None:
        """Return the project of the run's own tag, else that of its experiment."""
        found = await self.raw_run(run_id)
        return await self.project_of_raw_run(found) if found else None

    async def project_of_raw_run(self, found: Json) -> str | None:
        return own_project(found) or await self.project_of_experiment(experiment_of(found))

    async def experiment(self, experiment_id: str) -> Experiment | None:
        found = await self._get(f"{API}/experiments/get", experiment_id=experiment_id)
        return _experiment(found["experiment"]) if found else None

    async def project_of_experiment(self, experiment_id: str) -> str | None:
        found = await self.experiment(experiment_id)
        return found.project if found else None

    async def experiments(self) -> list[Experiment]:
        """Return every experiment, also those that were deleted: their files are there."""
        return [
            _experiment(found) async for found in self._pages("experiments/search", "experiments", None, view_type=ALL)
        ]

    async def has_runs_of_others(self, experiment_id: str, projects: frozenset[str]) -> bool:
        """Return True if a run of the experiment has the tag of a project that is none of these."""
        filter_ = " AND ".join(f"tags.`{TAG_PROJECT_ID}` != '{project}'" for project in sorted(projects) or [""])
        body = {"experiment_ids": [experiment_id], "filter": filter_, "run_view_type": ALL, "max_results": 1}
        return bool((await self._answered("POST", f"{API}/runs/search", json.dumps(body).encode()) or {}).get("runs"))

    async def logged_model(self, model_id: str) -> Json | None:
        """Return `info` of MLflow 3's logged model."""
        if not re.fullmatch(r"m-[0-9a-f]{1,64}", model_id):
            return None
        found = await self._get(f"{API}/logged-models/{model_id}")
        info: Json | None = found["model"]["info"] if found else None
        return info

    async def logged_models_of_run(self, run: Json, name: str) -> list[Json]:
        """Return `info` of the logged models that a run made under a name, in the order in which MLflow's client looks
        at them.
        """
        filter_ = filters.of_logged_model(name, run["run"]["info"]["run_id"])
        if filter_ is None:
            return []
        body = {"experiment_ids": [experiment_of(run)], "filter": filter_}
        found = await self._answered("POST", f"{API}/logged-models/search", json.dumps(body).encode())
        return [model["info"] for model in (found or {}).get("models", [])]

    async def project_of_logged_model(self, model_id: str) -> str | None:
        info = await self.logged_model(model_id)
        return await self.project_of_info(info) if info else None

    async def project_of_info(self, info: Json) -> str | None:
        """Return the project of the run that made a logged model, if it has its own tag; else that of
        the experiment.
        """
        run = await self.raw_run(info["source_run_id"]) if info.get("source_run_id") else None
        return (own_project(run) if run else None) or await self.project_of_experiment(str(info["experiment_id"]))

    async def artifacts_of_logged_model(self, model_id: str) -> str | None:
        info = await self.logged_model(model_id)
        return proxied_location(info["artifact_uri"]) if info else None

    async def experiment_of_trace(self, trace_id: str) -> str | None:
        found = await self._get(f"{API}/traces/{quote(trace_id, safe='')}/info")
        return str(found["trace_info"]["experiment_id"]) if found else None

    async def experiments_of_dataset(self, dataset_id: str) -> list[str] | None:
        """Return the experiments of a dataset of MLflow 3; None if there is no such dataset."""
        found = await self._get(f"/api/3.0/mlflow/datasets/{quote(dataset_id, safe='')}/experiment-ids")
        return None if found is None else [str(experiment) for experiment in found.get("experiment_ids", [])]

    async def has_files(self, location: str) -> bool:
        found = await self._get("/api/2.0/mlflow-artifacts/artifacts", path=location)
        return bool((found or {}).get("files"))

    async def download_uri(self, name: str, version: str) -> str | None:
        found = await self._get(f"{API}/model-versions/get-download-uri", name=name, version=version)
        return str(found["artifact_uri"]) if found and found.get("artifact_uri") else None

    async def look_up_nothing(self) -> None:
        """Ask for what is not there, so that the number of questions is the same."""
        await self._get(f"{API}/experiments/get", experiment_id=NO_EXPERIMENT)

    async def _get(self, route: str, /, **query: str) -> Json | None:
        """None for what MLflow does not have."""
        return await self._answered("GET", f"{route}?{urlencode(query)}" if query else route, None)

    async def _answered(self, method: str, path: str, question: bytes | None) -> Json | None:
        if (asked := QUESTIONS.get()) is not None:
            asked.append(path)
        status, body = await self._call(method, path, question)
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


def own_project(run: Json) -> str | None:
    """Return the project of the run's own tag."""
    return _tags(run["run"].get("data", {})).get(TAG_PROJECT_ID)


def _experiment(found: Json) -> Experiment:
    location = found.get("artifact_location", "")
    return Experiment(
        id=str(found["experiment_id"]), project=_tags(found).get(TAG_PROJECT_ID), location=proxied_location(location)
    )


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
