"""State that both APIs act on: the records, the pods, the projects and the environments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.domino.pods import Pods
from testbed.domino.records import RUNNING, STOPPED, ModelApi, Records, UnknownError, Version, now, object_id

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project of the installation."""

    id: str
    name: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """State of an installation.

    `environments` are the ids that a model API may name; `variable_key` is the public API's key for a variable's name.
    """

    records: Records
    pods: Pods
    projects: Mapping[str, Project]
    environments: frozenset[str]
    variable_key: str = "name"

    def create(self, *, version: Json, **fields: Any) -> ModelApi:
        """Return a model API with its first version, which is still being built."""
        model = self.records.add(ModelApi(id=object_id(), created=now(), **fields))
        self.publish(model.id, **version)
        return self.records.get(model.id)

    def publish(self, model_id: str, *, deploy: bool = True, **fields: Any) -> Version:
        """Add a version. Raises UnknownError."""
        version = self.records.add_version(model_id, status="Building" if deploy else STOPPED, **fields)
        if deploy:
            self.pods.publish(model_id, version)
        return version

    def set_variables(self, model_id: str, variables: Mapping[str, str]) -> None:
        """Set variables and restart the running versions, as Domino 5.11 and later do. Raises UnknownError."""
        model = self.records.get(model_id)
        self.records.change(model_id, variables={**model.variables, **variables})
        for version in model.versions:
            if version.status == RUNNING:
                self.pods.restart(model_id, version.id)

    def stop(self, model_id: str, version_id: str) -> None:
        """Stop a version. Raises UnknownError."""
        self.records.get(model_id).version(version_id)
        self.records.change_version(model_id, version_id, status=STOPPED)
        self.pods.stop(version_id)

    def archive(self, model_id: str) -> None:
        """Archive a model API. Raises UnknownError."""
        for version in self.live(model_id).versions:
            self.stop(model_id, version.id)
        self.records.change(model_id, archived=True)

    def live(self, model_id: str) -> ModelApi:
        """Return a model API. Raises UnknownError, also if it is archived."""
        model = self.records.get(model_id)
        if model.archived:
            raise UnknownError(model_id)
        return model

    def of_project(self, project_id: str | None) -> list[ModelApi]:
        return [model for model in self.records.all() if project_id in {None, model.project_id}]
