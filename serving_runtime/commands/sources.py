"""The files that `predict` scores: files, directories and globs, in a fixed order."""

import glob
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from serving_runtime.commands.cli_errors import InputFileError, MissingFileError, UnavailableError
from serving_runtime.commands.partitions import Condition, Partitions, partitions_of
from serving_runtime.commands.places import (
    FilePlace,
    State,
    absolute,
    is_device,
    opened,
    place_of,
    read_error,
    state_of,
)
from serving_runtime.commands.versioned_tables import refuse_versions
from serving_runtime.options import STORES

if TYPE_CHECKING:
    from serving_runtime.tables.object_store import ObjectPath

SUFFIXES: Final[Mapping[str, str]] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
COMPRESSED: Final = frozenset({".gz", ".bz2", ".xz", ".lzma", ".zst", ".zip"})
OF_ENGINES: Final = {"s3a": "s3"}  # Spark's scheme of a store, and ours
# Names that readers of data sets skip; not directories such as _day=1, which are partitions.
HIDDEN: Final = re.compile(r"\.|_(?!.*=)")
OF_FILE_SYSTEM: Final = "lost+found"  # a directory that nobody may list


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file of one `form`. `path` is as the user named it, `name` is below the directory or the glob's fixed part.

    `at` is its place whatever becomes of the working directory, which a model's code may change. `state` is that of the
    file when it was found.
    """

    path: FilePlace
    at: FilePlace
    name: PurePath
    form: str
    state: State

    @property
    def partitions(self) -> Partitions:
        """The columns in the names of its directories."""
        return partitions_of(self.path.parts[:-1])

    def opened(self) -> AbstractContextManager[IO[bytes]]:
        """Return a stream of the file. Raises CommandError, also at the end if the file has been changed."""
        return opened(self.at, self.state, at_any_place=self.form in {"parquet", "arrow"})


def find_sources(arguments: Sequence[str], form: str | None, conditions: Sequence[Condition] = ()) -> list[Source]:
    """Return the files in the order of the arguments, those of a directory or glob by name.

    In a directory, files of other suffixes are left out, unless `form` is given; so are files whose partitions do not
    meet all conditions. Raises CommandError.
    """
    sources = [source for argument in arguments for source in _found(argument, form)]
    seen: set[FilePlace] = set()
    for source in sources:
        if identity(source.path) in seen:
            raise InputFileError(f"{source.path} is named twice; its rows would be scored twice")
        seen.add(identity(source.path))
    wanted = [source for source in sources if all(one.meets(source.partitions, source.path) for one in conditions)]
    if not wanted:
        raise InputFileError(f"none of the {len(sources)} files is of a partition that --where selects")
    return wanted


def check_directories(arguments: Sequence[str]) -> None:
    """Raise InputFileError for a directory that `find_sources` refuses, if this machine can list its files.

    What is missing here, or is at an address that only an engine knows, is left to the engine.
    """
    for argument in arguments:
        scheme, separator, key = argument.partition("://")
        scheme = OF_ENGINES.get(scheme, scheme)
        if not separator or scheme in STORES:
            with suppress(MissingFileError, UnavailableError):
                list(_found(f"{scheme}://{key}" if separator else argument, "parquet"))


def check_outputs(names: Iterable[str], sources: Iterable[Source]) -> None:
    """Raise InputFileError for an output that is a scored file, comes twice, or has the suffix of a compressed file."""
    scored = {identity(source.path) for source in sources}
    written: set[FilePlace] = set()
    for name in names:
        place = identity(place_of(name))
        if place in scored:
            raise InputFileError(f"{name} is one of the files that are scored; name another one to write")
        if place in written and not is_device(place):
            raise InputFileError(f"{name} would get the predictions and the rows without one; name two files")
        written.add(place)
        if PurePath(name).suffix.lower() in COMPRESSED:
            raise InputFileError(f"{name} would not be compressed; name it without {PurePath(name).suffix}")


def identity(place: FilePlace) -> FilePlace:
    """Return the one name of a file that may have several."""
    return place.resolve() if isinstance(place, Path) else place


def _found(argument: str, form: str | None) -> Iterator[Source]:
    path = place_of(argument)
    if not isinstance(path, Path):
        yield from _in_store(path, form)
    elif path.is_file():
        yield _source(path, Path(path.name), form)
    elif path.is_dir():
        yield from _in_directory(path, path, form)
    elif path.exists():  # a pipe, which a shell also makes of <(command), or a device
        yield _source(path, Path(path.name), form)
    elif glob.has_magic(argument):
        yield from _matching(argument, form)
    else:
        raise MissingFileError(f"there is no file {path}")


def _matching(pattern: str, form: str | None) -> Iterator[Source]:
    root = Path(_fixed_part(Path(pattern)))
    found = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207  pathlib takes no absolute pattern
    matches = sorted(path for path in found if not _is_hidden(path.relative_to(root)))
    if not matches:
        raise MissingFileError(f"no file matches {pattern}")
    files = {path for path in matches if path.is_file()}
    for path in matches:
        if path in files:
            yield _source(path, path.relative_to(root), form)
        elif not path.exists():
            raise MissingFileError(f"{path} is a link to a file that is not there")
        elif any(file.is_relative_to(path) for file in files):  # `**` matches directories and their files
            refuse_versions(path, path.rglob("*"))
        else:
            yield from _in_directory(path, root, form)


def _fixed_part(pattern: PurePath) -> PurePath:
    """Return the part of a pattern before its first component with a wildcard."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _in_directory(directory: Path, root: Path, form: str | None) -> Iterator[Source]:
    paths = sorted(_below(directory, frozenset()))
    refuse_versions(directory, paths)
    wanted = [
        path for path in paths if not _is_hidden(path.relative_to(directory)) and (form or _suffix(path) in SUFFIXES)
    ]
    if broken := next((path for path in wanted if not path.exists()), None):
        raise MissingFileError(f"{broken} is a link to a file that is not there")
    files = [path for path in wanted if path.is_file()]
    if not files:
        raise InputFileError(f"{directory} holds no file to score; name files, or give --input-format")
    for path in files:
        yield _source(path, path.relative_to(root), form)


def _below(directory: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Yield what is below a directory, but not in hidden directories; a link to a directory counts as one.

    `above` are the directories that the walk is in, which a link may name once more. Raises InputFileError.
    """
    real = directory.resolve()
    if real in above:
        return
    try:
        found = [(path, path.is_dir()) for path in directory.iterdir()]
    except OSError as error:
        raise read_error(directory, error) from None
    for path, is_directory in found:
        yield path
        if is_directory and not _is_hidden(PurePath(path.name)):
            yield from _below(path, above | {real})


def _in_store(place: "ObjectPath", form: str | None) -> Iterator[Source]:
    """Yield an object, the objects below a key, or those that match a pattern, as among the files of a directory."""
    if state := state_of(place):
        yield Source(path=place, at=place, name=PurePosixPath(place.name), form=_form(place.name, form), state=state)
        return
    has_magic = glob.has_magic(str(place.key))
    root = place.at(PurePosixPath(_fixed_part(place.key))) if has_magic else place
    pattern = place.relative_to(root).parts if has_magic else ("**",)
    objects = list(_objects_below(root))
    if in_directories := [path for path, _ in objects if _is_in_directory(path.relative_to(root), pattern)]:
        refuse_versions(root, in_directories)
    found = [
        Source(path=path, at=path, name=name, form=_form(path.name, form), state=state)
        for path, state in objects
        if not _is_hidden(name := path.relative_to(root)) and _is_wanted(name, pattern, form)
    ]
    if not found:
        raise MissingFileError(f"there is no object {place}, and none with such a key below it that can be scored")
    yield from found


def _objects_below(root: "ObjectPath") -> Iterator[tuple["ObjectPath", State]]:
    try:
        yield from ((path, State(*state)) for path, state in root.objects_below().items())
    except OSError as error:
        raise read_error(root, error) from None


def _is_wanted(name: PurePath, pattern: Sequence[str], form: str | None) -> bool:
    """Return True for a file that the pattern names, or for a table in a directory that it names."""
    if pattern != ("**",) and _fits(name.parts, pattern):
        return True
    is_table = form is not None or _suffix(name) in SUFFIXES
    return is_table and _is_in_directory(name, pattern)


def _is_in_directory(name: PurePath, pattern: Sequence[str]) -> bool:
    """Return True for a path below a directory that the pattern names; it names no hidden one."""
    return any(_fits(parent.parts, pattern) and not _is_hidden(parent) for parent in name.parents)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**" and _fits(parts, pattern[1:]):
        return True
    rest = pattern if pattern[0] == "**" else pattern[1:]
    return bool(parts) and (pattern[0] == "**" or fnmatchcase(parts[0], pattern[0])) and _fits(parts[1:], rest)


def _is_hidden(name: PurePath) -> bool:
    return any(part == OF_FILE_SYSTEM or HIDDEN.match(part) for part in name.parts)


def _source(path: Path, name: Path, form: str | None) -> Source:
    state = state_of(path)
    if state is None:
        raise MissingFileError(f"there is no file {path}")
    return Source(path=path, at=absolute(path), name=name, form=_form(path.name, form), state=state)


def output_form(name: str) -> str:
    """Return the form that an output has by its suffix. Raises InputFileError for a form that is not written."""
    form = _form(name, None)
    if form == "arrow":
        raise InputFileError(f"{name} would be a file of Arrow, which is not written; name it .parquet")
    return form


def _form(name: str, form: str | None) -> str:
    return form or SUFFIXES.get(_suffix(PurePath(name)), "csv")


def _suffix(name: PurePath) -> str:
    return decompressed_name(name).suffix.lower()


def decompressed_name(name: PurePath) -> PurePath:
    """Return the name of a compressed file's content: `rows.csv` for `rows.csv.gz`."""
    return name.with_suffix("") if name.suffix.lower() in COMPRESSED else name
