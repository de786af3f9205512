"""What will be fetched, decided before the first byte: which files a listing names, and where among them the model
begins.

A listing comes from a server and its artifact store, and is not trusted: what it names becomes paths here.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from model_contract.layout import MLMODEL
from model_contract.model_ref import shown
from model_delivery.errors import InvalidInputError, NoSpaceError, NotFoundError

MOST_FILES: Final = 100_000
MOST_NAME_BYTES: Final = 32 << 20  # characters of all paths together: 100,000 of 300
DEEPEST: Final = 64  # directories below each other
LONGEST_NAME: Final = 255  # bytes: what file systems take


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file as the server lists it: path below the listed directory, size in bytes where the server gives one."""

    path: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One directory: its files, and its directories by name."""

    files: tuple[ListedFile, ...]
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyDirectory:
    """A directory in which nothing is listed, by its path below the listed one. MLflow's client makes these, too."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The files of one model, and its directories without any. `source` is the artifact path of its root; all paths are
    below it.
    """

    source: str
    files: tuple[ListedFile, ...]
    directories: tuple[str, ...] = ()

    @property
    def known_bytes(self) -> int:
        return sum(file.size or 0 for file in self.files)


def checked_path(path: str) -> str:
    """A relative path of safe components. Raises InvalidInputError for any other."""
    for name in path.split("/"):
        checked_name(name)
    return path


def checked_name(name: object) -> str:
    """A component of a path that can be joined to a directory without leaving it. Raises InvalidInputError for any
    other.
    """
    if not isinstance(name, str):
        raise InvalidInputError("MLflow lists an artifact without a name")
    if (
        name in {"", ".", ".."}
        or "/" in name
        or any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
    ):
        raise InvalidInputError(f"MLflow lists an artifact named {shown(name)}, which is refused as a file name")
    if len(name.encode()) > LONGEST_NAME:
        raise InvalidInputError(f"MLflow lists an artifact named {shown(name)} of more than {LONGEST_NAME} bytes")
    return name


def make_plan(source: str, found: Iterable[ListedFile | EmptyDirectory]) -> Plan:
    """The model among what is below `source`: where its MLmodel lies is its root. Raises NotFoundError for none or
    several.
    """
    entries = tuple(found)
    files = tuple(entry for entry in entries if isinstance(entry, ListedFile))
    if not files:
        raise NotFoundError(f"there are no artifacts at {source}; was the model logged, or have they been deleted?")
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
    return Plan(source=f"{source}/{root}".rstrip("/"), files=inside, directories=empty)


def check_space(plan: Plan, max_bytes: int | None) -> None:
    """Raises NoSpaceError where the files are known to be larger than allowed."""
    if max_bytes is not None and plan.known_bytes > max_bytes:
        raise NoSpaceError(
            f"the model has {plan.known_bytes} bytes, more than the {max_bytes} of --max-bytes; raise the volume's size"
            " limit"
        )


def largest(plan: Plan, file: ListedFile, max_bytes: int | None) -> int | None:
    """How many bytes of `file` may come: what is listed, or what the others leave of `max_bytes`."""
    if file.size is not None or max_bytes is None:
        return file.size
    return max_bytes - plan.known_bytes


def _root(source: str, files: tuple[ListedFile, ...]) -> str:
    """ "" where MLmodel lies at the top, `<name>/` where it lies in exactly one directory of the top."""
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
        f"there is no {MLMODEL} at {source}, nor in a directory of it; was it logged by MLflow's log_model?"
    )
