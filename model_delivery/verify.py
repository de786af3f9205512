"""Says whether a model is in the store, and whole. Writes nothing."""

from dataclasses import dataclass
from pathlib import Path

from model_contract.layout import MANIFEST, MLMODEL, MODEL_DIRECTORY, run_directory
from model_delivery.errors import DamagedError, NotFoundError, PreconditionError
from model_delivery.inspection import digest_faults, read_manifest, regular_size, size_faults
from model_delivery.log import log
from model_delivery.manifest import Manifest

SHOWN_FAULTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The model that must be there; `name` and `version` where they matter."""

    store: Path
    owner: str
    run_id: str
    name: str | None = None
    version: str | None = None
    digests: bool = False
    project: str | None = None

    @property
    def place(self) -> Path:
        return self.store / run_directory(self.owner, self.run_id)


def verify(expected: Expectation) -> Manifest | None:
    """The manifest of the model; None where there is none to compare with. Raises the DeliveryError that says what is
    wrong.
    """
    mlmodel = expected.place / MODEL_DIRECTORY / MLMODEL
    manifest = read_manifest(expected.place)
    if manifest is None:
        if regular_size(mlmodel) is None:
            raise NotFoundError(
                f"there is no {MLMODEL} at {mlmodel.parent}; is the volume filled, and its prefix right?"
            )
        return None
    _check_reference(expected, manifest)
    check_project(manifest, expected.project)
    faults = list(size_faults(expected.place, manifest))
    if not faults and expected.digests:
        faults = list(digest_faults(expected.place, manifest))
    if faults:
        raise DamagedError(
            f"the model at {mlmodel.parent} is not what its {MANIFEST} says: {_some(faults)}; fetch it again"
        )
    if regular_size(mlmodel) is None:
        raise NotFoundError(f"there is no {MLMODEL} at {mlmodel.parent}")
    return manifest


def check_project(manifest: Manifest, project: str | None) -> None:
    """Raise PreconditionError if a store holds a model of another project; one that was brought without a project is
    taken.

    It guards against mistakes: whoever may mount the volume can read it.
    """
    if project is None:
        return
    if manifest.project is None:
        log(
            "the manifest names no project: the model was delivered before stores knew projects, and is taken",
            project=project,
        )
    elif manifest.project != project:
        raise PreconditionError(
            f"the model in the store is of project {manifest.project}, and this pod is of project {project}; "
            "set the model's variables to a model of the pod's project"
        )


def _check_reference(expected: Expectation, manifest: Manifest) -> None:
    if not any(
        expected.name in {None, model.name} and expected.version in {None, model.version} for model in manifest.models
    ):
        held = ", ".join(f"version {model.version} of model {model.name!r}" for model in manifest.models)
        raise PreconditionError(
            f"the store holds {held} for this run, and not version {expected.version} of model {expected.name!r}"
        )


def _some(faults: list[str]) -> str:
    more = len(faults) - SHOWN_FAULTS
    return ", ".join(faults[:SHOWN_FAULTS]) + (f" and {more} more" if more > 0 else "")
