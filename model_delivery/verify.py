"""Check that a model is in the store, and complete. Nothing is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.layout import MANIFEST, MLMODEL, MODEL_DIRECTORY, run_directory
from model_delivery.errors import DamagedError, NotFoundError, PreconditionError
from model_delivery.file_checks import digest_faults, read_manifest, regular_size, size_faults
from model_delivery.log import log
from model_delivery.manifest import Manifest
from model_delivery.store import store_error

SHOWN_FAULTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """The model that must be in the store; `name` and `version` are None if any will do."""

    store: Path
    owner: str
    run_id: str
    name: str | None = None
    version: str | None = None
    digests: bool = False
    project: str | None = None

    @property
    def directory(self) -> Path:
        """The directory of the model's run in the store."""
        return self.store / run_directory(self.owner, self.run_id)


def verify(expected: VerifyRequest) -> Manifest | None:
    """Return the manifest of the model; None if it has none to compare with. Raises DeliveryError."""
    try:
        return _verified(expected)
    except OSError as error:
        raise store_error(error) from error


def _verified(expected: VerifyRequest) -> Manifest | None:
    mlmodel = expected.directory / MODEL_DIRECTORY / MLMODEL
    manifest = read_manifest(expected.directory)
    if manifest is None:
        if regular_size(mlmodel) is None:
            raise NotFoundError(
                f"there is no {MLMODEL} at {mlmodel.parent}; check that the volume is filled, and that its prefix is"
                " right"
            )
        return None
    _check_reference(expected, manifest)
    check_project(manifest, expected.project)
    faults = list(size_faults(expected.directory, manifest))
    if not faults and expected.digests:
        faults = list(digest_faults(expected.directory, manifest))
    if faults:
        raise DamagedError(
            f"the model at {mlmodel.parent} is not what its {MANIFEST} says: {_some(faults)}; fetch it again"
        )
    if regular_size(mlmodel) is None:
        raise NotFoundError(f"there is no {MLMODEL} at {mlmodel.parent}")
    return manifest


def check_project(manifest: Manifest, project: str | None) -> None:
    """Raise PreconditionError if the model in the store is of another project; one without a project is accepted.

    This guards against mistakes only: a user who may mount the volume can read the model.
    """
    if project is None:
        return
    if manifest.project is None:
        log(
            "the manifest names no project: an older version delivered the model, which is accepted",
            project=project,
        )
    elif manifest.project != project:
        raise PreconditionError(
            f"the model in the store is of project {manifest.project}, and this pod is of project {project}; "
            "set the model's variables to a model of the pod's project"
        )


def _check_reference(expected: VerifyRequest, manifest: Manifest) -> None:
    if not any(
        expected.name in {None, model.name} and expected.version in {None, model.version} for model in manifest.models
    ):
        held = ", ".join(f"version {model.version} of model {model.name!r}" for model in manifest.models)
        version = expected.version and f"version {expected.version}"
        wanted = " of ".join(filter(None, (version, expected.name and f"model {expected.name!r}")))
        raise PreconditionError(f"the store holds {held} for this run, and not {wanted}")


def _some(faults: list[str]) -> str:
    more = len(faults) - SHOWN_FAULTS
    return ", ".join(faults[:SHOWN_FAULTS]) + (f" and {more} more" if more > 0 else "")
