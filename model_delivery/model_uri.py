"""The version of a model that a URI of MLflow names: `models:/name/3`, `models:/name@alias`, `runs:/run_id/path`."""

import re
from collections.abc import Sequence
from typing import Final

from model_contract.model_ref import ModelRef, shown
from model_delivery.deadline import Deadline, Limits
from model_delivery.download import mlflow_artifacts
from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.mlflow_api import MlflowApi, RegisteredVersion
from model_delivery.settings import Upstream
from model_delivery.source import RUN_ARTIFACT

MOST_SHOWN: Final = 5
NO_RUN: Final = "0" * 32  # stands for the run of a version that comes from none
BY_VERSION: Final = re.compile(r"models:/+([^/:]+)/([0-9]+)")
BY_ALIAS: Final = re.compile(r"models:/+([^/:]+)@([\w-]+)")  # the last @, as a name may hold another
BY_STAGE: Final = re.compile(r"models:/+([^/:]+)/([A-Za-z]+)")
LATEST: Final = "latest"  # MLflow's client takes the newest version for it, and allows no such alias


def resolve(uri: str, owner: str, upstream: Upstream, limits: Limits) -> ModelRef:
    """Ask MLflow for the version that the URI names now. Raises DeliveryError, ContractError."""
    with mlflow_artifacts(upstream, Deadline(limits)) as (api, _):
        name, version = _version(uri, api)
        return ModelRef(name=name, version=version, owner=owner, run_id=api.version(name, version).run_id or NO_RUN)


def _version(uri: str, api: MlflowApi) -> tuple[str, str]:
    if found := BY_VERSION.fullmatch(uri):
        return found[1], found[2]
    if found := BY_ALIAS.fullmatch(uri):
        return found[1], api.version_of_alias(found[1], found[2])
    if found := BY_STAGE.fullmatch(uri):
        word = found[2].lower()
        named, alias = ("the newest version", "production") if word == LATEST else ("a stage", word)
        raise InvalidInputError(
            f"{shown(uri)} names {named}; name the alias, such as models:/{found[1]}@{alias}, or a version"
        )
    if found := RUN_ARTIFACT.fullmatch(uri):
        return _version_of_run(uri, api.versions_of_run(found[1]))
    raise InvalidInputError(
        f"{shown(uri)} is no URI of a model; use models:/name@alias, models:/name/3, or runs:/run_id/path"
    )


def _version_of_run(uri: str, found: Sequence[RegisteredVersion]) -> tuple[str, str]:
    """Return the one version of a run that was registered from the URI, or the only one."""
    named = [one for one in found if one.source.rstrip("/") == uri.rstrip("/")] or list(found)
    if not named:
        raise NotFoundError(f"no version was registered from {shown(uri)}; register one with mlflow.register_model")
    if len(named) > 1:
        names = ", ".join(f"models:/{one.name}/{one.version}" for one in named[:MOST_SHOWN])
        raise InvalidInputError(f"several versions were registered from {shown(uri)}; name one of them: {names}")
    return named[0].name, named[0].version
