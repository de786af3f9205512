"""The gate's own lookups in MLflow: the state of a version, and the project that owns an object.

The project of a version is its own tag, else that of the registered model, else that of the run, else that of the run's
experiment. Every answer is MLflow's own.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.errors import Unavailable
from tracking_gate.mlflow_api import search_filters as filters
from tracking_gate.mlflow_api.artifact_locations import location_of, model_id_in, overlap, run_id_in
from tracking_gate.mlflow_api.registry_objects import (
    Experiment,
    Json,
    Model,
    Version,
    experiment_from,
    experiment_id_of_run,
    location_of_run,
    model_from,
    own_project_of_run,
    parsed_object,
    tags_from,
    version_from,
)

# Method, path with query, body; the answer's status and body.
Call = Callable[[str, str, bytes | None], Awaitable[tuple[int, bytes]]]
API: Final = "/api/2.0/mlflow"
PAGE: Final = 1000  # versions or models in one answer
ALL: Final = "ALL"  # experiments and runs that were deleted too
NO_EXPERIMENT: Final = "2147483647"  # the highest id that every database can hold
ABSENT_CODES: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND"})
# The lookups of one request, counted so that their number does not tell the client of a refusal which objects exist.
LOOKUPS: Final[ContextVar[list[str] | None]] = ContextVar("lookups", default=None)


class Registry:
    """Looks up objects through the gate's connection to MLflow.

    A method returns None for an object that does not exist, and raises Unavailable if MLflow does not answer.
    """

    def __init__(self, call: Call) -> None:
        self._call = call

    async def version(self, name: str, version: str) -> Version | None:
        found = await self.raw_version(name, version)
        return version_from(found) if found else None

    async def raw_version(self, name: str, version: str) -> Json | None:
        """Return a version as MLflow answers."""
        found = await self._get(f"{API}/model-versions/get", name=name, version=version)
        raw: Json | None = found["model_version"] if found else None
        return raw

    async def model(self, name: str) -> Model | None:
        found = await self._get(f"{API}/registered-models/get", name=name)
        return model_from(found["registered_model"]) if found else None

    async def versions(self, filter_: str | None = None) -> list[Version]:
        """Return the versions that a filter finds, without their aliases, and without those that are prompts."""
        return [version_from(found) async for found in self._pages("model-versions/search", "model_versions", filter_)]

    async def all_versions(self) -> list[Version]:
        """Return every version of every model, also of those that a tag of a prompt hides."""
        hidden = {found.name for found in await self.versions(filters.PROMPTS)}
        shown = await self.versions()
        found = [version for name in hidden for version in await self._each_version(name)]
        return [*(version for version in shown if version.name not in hidden), *found]

    async def aliased_versions(self) -> set[tuple[str, str]]:
        """Return name and version of each version that has an alias."""
        pages = [
            self._pages("registered-models/search", "registered_models", filter_) for filter_ in (None, filters.PROMPTS)
        ]
        models = [found for page in pages async for found in page]
        return {(model["name"], str(alias["version"])) for model in models for alias in model.get("aliases", [])}

    async def versions_of(self, name: str) -> list[Version]:
        """Return every version of a model. A search shows all of them, or none if one has the tag of a prompt."""
        found = [version for version in await self.versions(filters.of_name(name)) if version.name == name]
        return found or await self._each_version(name)

    async def project_of_model(self, name: str) -> str | None:
        model = await self.model(name)
        return model.tags.get(TAG_PROJECT_ID) if model and model.name == name else None

    async def projects_of_models(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return the projects of the models that exist, and of any other that MLflow takes for one of them.

        MLflow 2 reads no filter of several names.
        """
        if not names:
            return {}
        if len(names) == 1:
            return {names[0]: await self.project_of_model(names[0])}
        pages = self._pages("registered-models/search", "registered_models", filters.of_names(names))
        return {found["name"]: tags_from(found).get(TAG_PROJECT_ID) async for found in pages}

    async def project_of_version(self, version: Version) -> str | None:
        if project := version.tags.get(TAG_PROJECT_ID):
            return project
        if project := await self.project_of_model(version.name):
            return project
        run = await self.raw_run(version.run_id) if version.run_id else None
        return await self.project_of_run(run) if run else None

    async def raw_run(self, run_id: str) -> Json | None:
        """Return MLflow's whole answer about a run."""
        return await self._get(f"{API}/runs/get", run_id=run_id)

    async def project_of_run(self, run: Json) -> str | None:
        """Return the project of the run's own tag, else that of its experiment."""
        return own_project_of_run(run) or await self.project_of_experiment(experiment_id_of_run(run))

    async def experiment(self, experiment_id: str) -> Experiment | None:
        found = await self._get(f"{API}/experiments/get", experiment_id=experiment_id)
        return experiment_from(found["experiment"]) if found else None

    async def project_of_experiment(self, experiment_id: str) -> str | None:
        found = await self.experiment(experiment_id)
        return found.project if found else None

    async def experiments(self) -> list[Experiment]:
        """Return every experiment, also those that were deleted: their files still exist."""
        pages = self._pages("experiments/search", "experiments", None, view_type=ALL)
        return [experiment_from(found) async for found in pages]

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
        """Return `info` of the logged models of a run with a name, in the order in which MLflow's client reads them."""
        filter_ = filters.of_logged_model(name, run["run"]["info"]["run_id"])
        if filter_ is None:
            return []
        body = {"experiment_ids": [experiment_id_of_run(run)], "filter": filter_}
        found = await self._answered("POST", f"{API}/logged-models/search", json.dumps(body).encode())
        return [model["info"] for model in (found or {}).get("models", [])]

    async def project_of_logged_model(self, info: Json) -> str | None:
        """Return the project of the own tag of the run that made a logged model, else that of the experiment."""
        run = await self.raw_run(info["source_run_id"]) if info.get("source_run_id") else None
        return (own_project_of_run(run) if run else None) or await self.project_of_experiment(
            str(info["experiment_id"])
        )

    async def location_of_logged_model(self, model_id: str) -> str | None:
        info = await self.logged_model(model_id)
        return location_of(info["artifact_uri"]) if info else None

    async def experiment_of_trace(self, trace_id: str) -> str | None:
        found = await self._get(f"{API}/traces/{quote(trace_id, safe='')}/info")
        return str(found["trace_info"]["experiment_id"]) if found else None

    async def assessments_of_trace(self, trace_id: str) -> set[str] | None:
        """Return the ids of the assessments of a trace of MLflow 3."""
        found = await self._get(f"/api/3.0/mlflow/traces/{quote(trace_id, safe='')}")
        if found is None:
            return None
        return {str(one["assessment_id"]) for one in found["trace"]["trace_info"].get("assessments", [])}

    async def experiments_of_dataset(self, dataset_id: str) -> list[str] | None:
        """Return the experiments of a dataset of MLflow 3."""
        found = await self._get(f"/api/3.0/mlflow/datasets/{quote(dataset_id, safe='')}/experiment-ids")
        return None if found is None else [str(experiment) for experiment in found.get("experiment_ids", [])]

    async def own_project_at(self, location: str) -> str | None:
        """Return the project of the own tag of the run that has the location. The path alone proves nothing."""
        run_id, model_id = run_id_in(location), model_id_in(location)
        run = await self.raw_run(run_id) if run_id else None
        root = location_of_run(run) if run else None
        if run and root and overlap(root, location):
            return own_project_of_run(run)
        info = await self.logged_model(model_id) if model_id else None
        root = location_of(info["artifact_uri"]) if info else None
        if not info or not root or not overlap(root, location) or not info.get("source_run_id"):
            return None
        run = await self.raw_run(info["source_run_id"])
        return own_project_of_run(run) if run else None

    async def has_files(self, location: str) -> bool:
        found = await self._get("/api/2.0/mlflow-artifacts/artifacts", path=location)
        return bool((found or {}).get("files"))

    async def download_uri(self, name: str, version: str) -> str | None:
        found = await self._get(f"{API}/model-versions/get-download-uri", name=name, version=version)
        return str(found["artifact_uri"]) if found and found.get("artifact_uri") else None

    async def look_up_nothing(self) -> None:
        """Look up an object that does not exist, so that the number of lookups is the same."""
        await self._get(f"{API}/experiments/get", experiment_id=NO_EXPERIMENT)

    async def _each_version(self, name: str) -> list[Version]:
        """Return the versions of a model without a search, with one lookup each."""
        model = await self._get(f"{API}/registered-models/get", name=name)
        latest = (model or {}).get("registered_model", {}).get("latest_versions", [])
        last = max((int(version["version"]) for version in latest), default=0)
        found = [await self.version(name, str(number)) for number in range(1, last + 1)]
        return [version for version in found if version]

    async def _pages(self, path: str, key: str, filter_: str | None, **query: str) -> AsyncIterator[Json]:
        """Yield the objects under `key` of every page of a search."""
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

    async def _get(self, route: str, /, **query: str) -> Json | None:
        return await self._answered("GET", f"{route}?{urlencode(query)}" if query else route, None)

    async def _answered(self, method: str, path: str, body: bytes | None) -> Json | None:
        """Return MLflow's answer, None if MLflow does not have the object or the route. Raises Unavailable."""
        if (lookups := LOOKUPS.get()) is not None:
            lookups.append(path)
        status, received = await self._call(method, path, body)
        answer = parsed_object(received)
        if status == HTTPStatus.OK and answer is not None:
            return answer
        if (answer or {}).get("error_code") in ABSENT_CODES or (status == HTTPStatus.NOT_FOUND and answer is None):
            return None
        raise Unavailable(f"MLflow answered {status} to a lookup of the gate")
