"""The version of a registered model that a workload is to serve."""

from dataclasses import dataclass

from model_contract.names import TAG_DIGEST
from model_lifecycle.errors import NotFoundError, PreconditionError
from model_lifecycle.registry import Model, Registry
from model_lifecycle.stages import PRODUCTION, PRODUCTION_ALIAS, READY


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredVersion:
    """A registered version. `run_id`, `owner` and `digest` are empty if the registry does not have them."""

    name: str
    version: str
    run_id: str
    owner: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name!r} version {self.version}"


def desired_version(
    registry: Registry, name: str, *, number: str | None = None, alias: str | None = None
) -> DesiredVersion:
    """Return the version with this number or alias; without either, the one in Production.

    Raises NotFoundError, and PreconditionError if the version is not READY or the registry contradicts itself.
    """
    model = registry.model(name)
    number = number or (_of_alias(model, alias) if alias else _in_production(model))
    version = model.version(number)
    if version is None:
        raise NotFoundError(f"{name!r} has no version {number}")
    if version.status != READY:
        raise PreconditionError(f"{name!r} version {number} is {version.status}, not {READY}: register it again")
    return DesiredVersion(
        name=name,
        version=number,
        run_id=version.run_id,
        owner=model.owner_of(version),
        digest=version.tags.get(TAG_DIGEST, ""),
    )


def _of_alias(model: Model, alias: str) -> str:
    if (number := model.aliases.get(alias)) is None:
        raise NotFoundError(f"{model.name!r} has no alias {alias}")
    return number


def _in_production(model: Model) -> str:
    """Return the number. The stage counts too, because registries of MLflow 2 and promotions by file have both."""
    alias, staged = model.aliases.get(PRODUCTION_ALIAS), model.in_stage(PRODUCTION)
    if alias and staged and alias != staged[0]:
        raise PreconditionError(
            f"the alias {PRODUCTION_ALIAS} of {model.name!r} points to version {alias}, and version {staged[0]} is in"
            f" {PRODUCTION}: name the one to serve with --alias or --version, or promote again"
        )
    if found := alias or next(iter(staged), None):
        return found
    raise NotFoundError(f"{model.name!r} has no version in {PRODUCTION}: promote one, or name --alias or --version")
