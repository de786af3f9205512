"""The files of one model, as MLflow lists them: what will be fetched is decided before the first byte comes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from model_contract.layout import MLMODEL
from model_contract.model_ref import shown
from model_delivery.errors import NoSpaceError, NotFoundError

MOST_FILES: Final = 100_000
MOST_NAME_BYTES: Final = 32 << 20  # characters of all paths together: 100,000 of 300
DEEPEST: Final = 64  # directories, each in the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A listed file: its path below the listed directory, and its size in bytes if the server names it."""

    path: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The content of one directory: its files, and the names of its directories."""

    files: tuple[ListedFile, ...]
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyDirectory:
    """The path of a directory in which nothing is listed. MLflow's client creates these, too."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """The files and the empty directories of one model. All paths are below `source`, its artifact path."""

    source: str
    files: tuple[ListedFile, ...]
    directories: tuple[str, ...] = ()

    @property
    def known_bytes(self) -> int:
        return sum(file.size or 0 for file in self.files)


def find_model(source: str, found: Iterable[ListedFile | EmptyDirectory]) -> ListedModel:
    """Return the model among the entries below `source`: the directory with MLmodel is its root.

    Raises NotFoundError if there is no model, or more than one.
    """
    entries = tuple(found)
    files = tuple(entry for entry in entries if isinstance(entry, ListedFile))
    if not files:
        raise NotFoundError(f"there are no artifacts at {source}; check that the model was logged, and was not deleted")
    root = _root(source, files)
    inside = tuple(
        ListedFile(path=file.path[len(root) :], size=file.size) for file in files if file.path.startswith(root)
    )
    empty = tuple(
        sorted(
            entry.path[len(root) :]
            for entry in entries
            if isinstance(entry, EmptyDirectory) and entry.path.startswith(root)
        )
    )
    return ListedModel(source=f"{source}/{root}".rstrip("/"), files=inside, directories=empty)


def check_space(listed: ListedModel, max_bytes: int | None) -> None:
    """Raise NoSpaceError if the files are larger than allowed, as far as their sizes are known."""
    if max_bytes is not None and listed.known_bytes > max_bytes:
        raise NoSpaceError(
            f"the model has {listed.known_bytes} bytes, more than the {max_bytes} of --max-bytes; raise the volume's"
            " size limit"
        )


def byte_limit(listed: ListedModel, file: ListedFile, max_bytes: int | None) -> int | None:
    """Return the most bytes of `file` that may come: its listed size, or what the others leave of `max_bytes`."""
    if file.size is not None or max_bytes is None:
        return file.size
    return max_bytes - listed.known_bytes


def _root(source: str, files: tuple[ListedFile, ...]) -> str:
    """Return "" if MLmodel lies in `source`, or `<name>/` if it lies in exactly one directory of it."""
    found = [PurePosixPath(file.path).parent for file in files if PurePosixPath(file.path).name == MLMODEL]
    if PurePosixPath() in found:
        return ""
    nested = sorted(str(parent) for parent in found if len(parent.parts) == 1)
    if len(nested) == 1:
        return f"{nested[0]}/"
    if nested:
        raise NotFoundError(
            f"several models lie at {source}: {', '.join(map(shown, nested[:5]))}; register the version with one of"
            " them as its source"
        )
    raise NotFoundError(
        f"there is no {MLMODEL} at {source}, nor in a directory of it; log the model with MLflow's log_model"
    )
