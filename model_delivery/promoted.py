"""The versions of a project that pods may start with: those in Staging or Production, by stage or by alias."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from model_contract.model_ref import ModelRef
from model_delivery.mlflow_api import MlflowApi, RegisteredModel

STAGES: Final = frozenset({"Staging", "Production"})
ALIASES: Final = ("staging", "production")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotedVersion:
    """A version in Staging or Production; `user` and `run_id` are empty if MLflow has none."""

    name: str
    version: str
    run_id: str
    user: str

    @property
    def title(self) -> str:
        return f"version {self.version} of model {self.name!r}"

    def ref(self, owner: str | None) -> ModelRef:
        """Return the reference of its pods; `owner` is that of models without a user. Raises ContractError."""
        return ModelRef(name=self.name, version=self.version, owner=self.user or owner or "", run_id=self.run_id)


def promoted_of_project(api: MlflowApi, project: str) -> Iterator[PromotedVersion]:
    """Yield every promoted version of the project's models. Raises DeliveryError."""
    for model in api.models_of_project(project):
        yield from promoted_of_model(api, model)


def promoted_of_model(api: MlflowApi, model: RegisteredModel) -> Iterator[PromotedVersion]:
    """Yield the versions in both stages, also if there are several in one, and those of both aliases."""
    aliased = {model.aliases[alias] for alias in ALIASES if alias in model.aliases}
    for found in api.versions_of_model(model.name):
        if found.stage in STAGES or found.version in aliased:
            yield PromotedVersion(
                name=model.name, version=found.version, run_id=found.run_id, user=found.user or model.user
            )
