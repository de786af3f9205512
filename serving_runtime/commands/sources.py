"""The files that `predict` scores: files, directories and globs, in a fixed order."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving_runtime.commands.cli_errors import InputFileError, MissingFileError

SUFFIXES: Final[Mapping[str, str]] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
HIDDEN: Final = (".", "_")  # beginnings of names that readers of data sets skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file of one `form`. `name` is its path below the directory, or below the fixed part of the glob."""

    path: Path
    name: Path
    form: str


def find_sources(arguments: Sequence[str], form: str | None) -> list[Source]:
    """Return the files in the order of the arguments, those of a directory or glob by name.

    In a directory, files of other suffixes are left out, unless `form` is given. Raises InputFileError,
    MissingFileError.
    """
    sources = [source for argument in arguments for source in _found(argument, form)]
    seen: set[Path] = set()
    for source in sources:
        if source.path.resolve() in seen:
            raise InputFileError(f"{source.path} is named twice; its rows would be scored twice")
        seen.add(source.path.resolve())
    return sources


def _found(argument: str, form: str | None) -> Iterator[Source]:
    path = Path(argument)
    if path.is_file():
        yield _source(path, Path(path.name), form)
    elif path.is_dir():
        yield from _in_directory(path, path, form)
    elif glob.has_magic(argument):
        yield from _matching(argument, form)
    else:
        raise MissingFileError(f"there is no file {path}")


def _matching(pattern: str, form: str | None) -> Iterator[Source]:
    root = _fixed_part(Path(pattern))
    found = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207  pathlib takes no absolute pattern
    matches = sorted(path for path in found if not _is_hidden(path.relative_to(root)))
    if not matches:
        raise MissingFileError(f"no file matches {pattern}")
    files = {path for path in matches if path.is_file()}
    for path in matches:
        if path in files:
            yield _source(path, path.relative_to(root), form)
        elif not any(file.is_relative_to(path) for file in files):  # `**` matches directories and their files
            yield from _in_directory(path, root, form)


def _fixed_part(pattern: Path) -> Path:
    """Return the part of a pattern before its first component with a wildcard."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _in_directory(directory: Path, root: Path, form: str | None) -> Iterator[Source]:
    files = [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not _is_hidden(path.relative_to(directory)) and (form or path.suffix.lower() in SUFFIXES)
    ]
    if not files:
        raise InputFileError(f"{directory} holds no file to score; name files, or give --input-format")
    for path in files:
        yield _source(path, path.relative_to(root), form)


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(HIDDEN) for part in name.parts)


def _source(path: Path, name: Path, form: str | None) -> Source:
    return Source(path=path, name=name, form=form or SUFFIXES.get(path.suffix.lower(), "csv"))
