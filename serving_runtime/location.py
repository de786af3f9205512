"""The directory of this process's model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from model_contract.layout import MLMODEL, model_path_from
from serving_runtime.errors import ModelNotFoundError

MOST_NAMES: Final = 10


def resolve_model_path(environ: Mapping[str, str]) -> Path:
    """Return the directory that holds `MLmodel`.

    MLFLOW_ARTIFACTS_PATH > the path built from MLFLOW_MODEL_OWNER and MLFLOW_RUN_ID. The directory may also hold the
    model in exactly one subdirectory. It is absolute: a model's code may change the working directory. Raises
    ContractError if the variables do not name a place, ModelNotFoundError if there is no model.
    """
    return find_model(Path(model_path_from(environ)).absolute())


def find_model(directory: Path) -> Path:
    """Return `directory`, or the one directory below it that holds a model. Raises ModelNotFoundError."""
    try:
        return _found(directory)
    except OSError as error:  # of a directory that this user may not list
        raise ModelNotFoundError(f"{error.filename} cannot be read: {error.strerror}") from None


def _found(directory: Path) -> Path:
    """Raises ModelNotFoundError, OSError."""
    if (directory / MLMODEL).is_file():
        return directory
    if not directory.is_dir():
        raise ModelNotFoundError(f"there is no directory {directory}; {_neighbours(directory)}")
    candidates = sorted(child.parent for child in directory.glob(f"*/{MLMODEL}"))
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ModelNotFoundError(f"{directory} holds more than one model ({_names(candidates)}); name one of them")
    raise ModelNotFoundError(f"there is no {MLMODEL} in {directory}; it holds {_names(sorted(directory.iterdir()))}")


def _neighbours(directory: Path) -> str:
    """Describe the last directory of the path that exists: it shows a wrong owner, or a volume that is missing."""
    parent = next(parent for parent in directory.parents if parent.is_dir())
    return f"{parent} holds {_names(sorted(parent.iterdir()))}"


def _names(paths: list[Path]) -> str:
    names = [path.name for path in paths[:MOST_NAMES]] + (["..."] if len(paths) > MOST_NAMES else [])
    return ", ".join(names) or "nothing"
