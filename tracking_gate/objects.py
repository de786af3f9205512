"""Objects of requests that are streamed: whose they are, and whether their files may be written.

Who reads is checked by what is known of the owner, who writes by what MLflow says now. Which files are promoted is kept until something is
moved through the gate, and a minute at most, for what is moved past it.
"""

import re
import time
from collections.abc import Mapping
from typing import Final

from tracking_gate.actors import Actor
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest
from tracking_gate.owners import KEPT, Owners
from tracking_gate.registry import Json, Registry, Version, experiment_of
from tracking_gate.rights import check_own, missing
from tracking_gate.routes import Subject
from tracking_gate.strict import forwarded_path, path_of
from tracking_gate.tags import OWNERSHIP_TAGS

# Names that MLflow's parser of filters cannot read otherwise, and the two filters that name models and nothing else.
MODEL_NAME: Final = r"'[^'\"\\`%\x00-\x1f\x7f]+'"
OF_MODELS: Final = re.compile(rf"name=({MODEL_NAME})|name IN \(({MODEL_NAME}(?:,{MODEL_NAME})*)\)")
BY_NAME: Final = "filter must be name='...' or name IN ('...','...') with the names of models"
READS: Final = frozenset({"latest_versions", "search_logged_models"})
TAGS: Final = frozenset({"set_version_tag", "delete_version_tag"})
MOVES: Final = frozenset({"transition_stage", "set_alias", "delete_alias"})


class Objects:
    """Asks the registry, and remembers."""

    def __init__(self, registry: Registry, owners: Owners) -> None:
        self._registry = registry
        self._owners = owners
        self._moves = 0
        self._promoted: tuple[float, Mapping[str, Version]] | None = None

    def forget(self, operation: str, key: str = "") -> None:
        """What a guarded operation, of a tag `key`, may have changed. Answers that are on their way are not kept either."""
        if operation in READS or (operation in TAGS and not OWNERSHIP_TAGS.fullmatch(key)):
            return
        self._moves += 1
        self._promoted = None
        if operation not in MOVES:
            self._owners.forget()

    async def check_readable(self, actor: Actor, subject: Subject | None, named: Mapping[str, str]) -> None:
        """A token's own. Raises Forbidden, InvalidRequest, Unavailable."""
        if subject is Subject.FILTER:
            return await self._check_models(actor, models_of_filter(named.get("filter", "")))
        value = named.get(subject or "") or (run_of(named) if subject is Subject.RUN else None)
        if not value:
            raise InvalidRequest(f"{subject} is missing")
        check_own(actor, await self._known_project(subject, value))

    async def own_run(self, actor: Actor, named: Mapping[str, str]) -> Json:
        """MLflow's answer about a token's own run, which says whose it is. Raises as above."""
        if not (run_id := run_of(named)):
            raise InvalidRequest("run_id is missing")
        found = await self._registry.raw_run(run_id)
        check_own(actor, await self._known_project_of_experiment(experiment_of(found)) if found else None)
        return found or {}

    async def check_writable(self, actor: Actor, subject: Subject | None, named: Mapping[str, str]) -> None:
        """Files of a person's own experiments, or of nobody's, that no promoted version is made of. Raises as above, and Conflict."""
        value = named.get(subject or "", "")
        if not value:
            raise InvalidRequest(f"{subject} is missing")
        project = await self._project_now(subject, value)
        if project is not None:
            check_own(actor, project)
        place = await self._place(subject, value)
        if place is None:
            raise missing(actor, "place for artifacts")
        if subject is Subject.UPLOAD:
            place += path_of("/" + forwarded_path(named.get("path", "").strip("/")))
        for promoted, version in (await self._known_promoted()).items():
            if f"{place}/".startswith(f"{promoted}/") or f"{promoted}/".startswith(f"{place}/"):
                raise Conflict(f"version {version.version} of {version.name} is promoted; its files do not change")

    async def _check_models(self, actor: Actor, names: frozenset[str]) -> None:
        """All of them are the actor's. MLflow is asked once for those whose owner is not known."""
        projects = {name: self._owners.of(Subject.MODEL, name) for name in names}
        changes = self._owners.changes
        for name, project in (await self._registry.projects_of_models([name for name in names if not projects[name]])).items():
            self._owners.keep(changes, project, Subject.MODEL, name)
            projects[name] = project
        for project in projects.values():
            check_own(actor, project)

    async def _known_project(self, subject: Subject | None, value: str) -> str | None:
        if subject is Subject.ARTIFACT:
            return await self._known_project_of_experiment(self._registry.experiment_of_artifact(checked(value)))
        if known := self._owners.of(str(subject), value):
            return known
        changes = self._owners.changes
        project = await self._asked_project(subject, value)
        self._owners.keep(changes, project, str(subject), value)
        return project

    async def _known_project_of_experiment(self, experiment: str | None) -> str | None:
        return await self._known_project(Subject.EXPERIMENT, experiment) if experiment else None

    async def _asked_project(self, subject: Subject | None, value: str) -> str | None:
        """Runs and logged models are their experiment's, which may be known."""
        registry = self._registry
        match subject:
            case Subject.MODEL:
                return await registry.project_of_model(value)
            case Subject.RUN:
                return await self._known_project_of_experiment(await registry.experiment_of_run(value))
            case Subject.LOGGED_MODEL:
                info = await registry.logged_model(value)
                return await self._known_project_of_experiment(str(info["experiment_id"]) if info else None)
            case _:
                return await registry.project_of_experiment(value)

    async def _project_now(self, subject: Subject | None, value: str) -> str | None:
        match subject:
            case Subject.UPLOAD:
                return await self._registry.project_of_run(value)
            case Subject.LOGGED_MODEL:
                return await self._registry.project_of_logged_model(value)
            case _:
                return await self._registry.project_of_artifact(checked(value))

    async def _known_promoted(self) -> Mapping[str, Version]:
        now, moves = time.monotonic(), self._moves
        if self._promoted and self._promoted[0] > now:
            return self._promoted[1]
        promoted = await self._registry.promoted()
        if moves == self._moves:
            self._promoted = (now + KEPT, promoted)
        return promoted

    async def _place(self, subject: Subject | None, value: str) -> str | None:
        if subject is Subject.UPLOAD:
            return await self._registry.artifacts_of_run(value)
        if subject is Subject.LOGGED_MODEL:
            return await self._registry.artifacts_of_logged_model(value)
        return value.strip("/")


def run_of(named: Mapping[str, str]) -> str | None:
    """MLflow takes both names, in this order."""
    return named.get("run_id") or named.get("run_uuid")


def checked(path: str) -> str:
    """A path of artifacts that can be read in one way only. Raises InvalidRequest."""
    return path_of("/" + forwarded_path(path))[1:]


def models_of_filter(filter_: str) -> frozenset[str]:
    """A token names the models that it searches for, in a way that MLflow cannot read otherwise. Raises Forbidden, InvalidRequest."""
    if not filter_:
        raise Forbidden(f"a token does not search everything: {BY_NAME}")
    found = OF_MODELS.fullmatch(filter_)
    if not found:
        raise InvalidRequest(f"for a token, {BY_NAME}")
    return frozenset(name[1:-1] for name in re.findall(MODEL_NAME, found[1] or found[2]))
