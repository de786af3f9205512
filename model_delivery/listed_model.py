"""The files of one model, as MLflow lists them: what will be fetched is decided before the first byte comes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from model_contract.digest import FileEntry
from model_contract.layout import MLMODEL
from model_contract.model_ref import shown
from model_delivery.artifact_paths import checked_length, checked_path
from model_delivery.errors import InvalidInputError, NoSpaceError, NotFoundError

MOST_FILES: Final = 100_000
MOST_NAME_BYTES: Final = 32 << 20  # characters of all paths together: 100,000 of 300
DEEPEST: Final = 64  # directories, each in the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A listed file: its path below the listed directory, its size in bytes and its tag, if the server names them."""

    path: str
    size: int | None
    tag: str | None = None


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
    """The files and the empty directories of one model. All paths are below `source`, its artifact path.

    A download takes each file out of `files` when its turn comes: those of many files take memory beside the manifest.
    """

    source: str
    files: list[ListedFile]
    directories: tuple[str, ...] = ()

    @property
    def known_bytes(self) -> int:
        return sum(file.size or 0 for file in self.files)


def find_model(source: str, found: Iterable[ListedFile | EmptyDirectory]) -> ListedModel:
    """Return the model among the entries below `source`: the directory with MLmodel is its root.

    Raises NotFoundError if there is no model, or more than one.
    """
    entries = tuple(found)
    files = [entry for entry in entries if isinstance(entry, ListedFile)]
    if not files:
        raise NotFoundError(f"there are no artifacts at {source}; check that the model was logged, and was not deleted")
    root = _root(source, files)
    if root:
        files = [replace(file, path=file.path[len(root) :]) for file in files if file.path.startswith(root)]
    empty = tuple(
        sorted(
            entry.path[len(root) :]
            for entry in entries
            if isinstance(entry, EmptyDirectory) and entry.path.startswith(root)
        )
    )
    return ListedModel(source=f"{source}/{root}".rstrip("/"), files=files, directories=empty)


def check_total(files: Iterable[FileEntry], max_bytes: int | None) -> None:
    """Raise NoSpaceError if the files that came, of which some are listed without a size, are larger than allowed."""
    if max_bytes is not None and (total := sum(file.size for file in files)) > max_bytes:
        raise _too_large(total, max_bytes)


def check_space(listed: ListedModel, max_bytes: int | None) -> None:
    """Raise NoSpaceError if the files are larger than allowed, as far as their sizes are known."""
    if max_bytes is not None and listed.known_bytes > max_bytes:
        raise _too_large(listed.known_bytes, max_bytes)


def check_tree(source: str, *, entries: int, depth: int, named: int) -> None:
    """Raise InvalidInputError if a tree has more entries, levels, or characters in its names, than any model's."""
    if entries > MOST_FILES or depth > DEEPEST:
        raise InvalidInputError(
            f"{source} holds more than {MOST_FILES} files, or more than {DEEPEST} directories in each other"
        )
    if named > MOST_NAME_BYTES:
        raise InvalidInputError(
            f"the names of the files at {source} take more than {MOST_NAME_BYTES} characters together"
        )


def flat_tree(source: str, listed: Iterable[ListedFile]) -> Iterator[ListedFile]:
    """Yield the files of an object store, which has no directories, except the empty objects that stand for some.

    Raises InvalidInputError for a name that a file cannot have, a file below a file, and a tree that is too large.
    """
    files: dict[str, ListedFile] = {}
    directories: set[str] = set()
    named = 0
    for file in listed:
        checked_length(f"{source}/{checked_path(file.path)}")
        named += len(file.path)
        parents = [file.path[:end] for end, character in enumerate(file.path) if character == "/"]
        check_tree(source, entries=len(files) + 1, depth=len(parents), named=named)
        if file.path in files:
            raise InvalidInputError(f"the object store lists {shown(file.path)} twice")
        files[file.path] = file
        directories.update(parents)
    for path in directories & files.keys():
        if files.pop(path).size:
            raise InvalidInputError(f"{source} holds a file {shown(path)}, and files below it; a disk cannot hold both")
    yield from files.values()


def _too_large(size: int, max_bytes: int) -> NoSpaceError:
    return NoSpaceError(
        f"the model has {size} bytes, more than the {max_bytes} of --max-bytes; raise the volume's size limit"
    )


def _root(source: str, files: Iterable[ListedFile]) -> str:
    """Return "" if MLmodel lies in `source`, or `<name>/` if it lies in exactly one directory of it."""
    split = (file.path.rpartition("/") for file in files)
    found = [directory for directory, _, name in split if name == MLMODEL]
    if "" in found:
        return ""
    nested = sorted(directory for directory in found if "/" not in directory)
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
