"""Tables of Delta, Hudi and Iceberg: their directories also hold files of older versions."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.places import FilePlace, read_error

# Names of the records of such tables, or of the directories with records. The records list the current files.
RECORD: Final = re.compile(r"_delta_log|\.hoodie(_partition_metadata)?|.*\.metadata\.json")
RECORDS: Final = ("_delta_log", ".hoodie", "metadata")  # directories with records, in that of the table
FILES: Final = "data"  # the directory of Iceberg's files


def refuse_versions(directory: FilePlace, paths: Iterable[FilePlace]) -> None:
    """Raise InputFileError if a directory, with these paths below it, has such a table or is a partition of one."""
    if _has_record(directory, paths) or any(_has_record(table, _records(table)) for table in _tables_above(directory)):
        raise InputFileError(
            f"{directory} has a table of Delta, Hudi or Iceberg, and files of its older versions: write its rows as"
            " Parquet with the program that reads such tables, or name the files to score"
        )


def _has_record(table: FilePlace, paths: Iterable[FilePlace]) -> bool:
    below = len(table.parts)
    return any(RECORD.fullmatch(part) for path in paths for part in path.parts[below:])


def _tables_above(directory: FilePlace) -> Iterator[FilePlace]:
    """Yield the directories that may be the table's: the directory may be one of its partitions, or hold its files."""
    place = directory.resolve() if isinstance(directory, Path) else directory
    while "=" in place.name:
        place = place.parent
    yield place
    if place.name == FILES and place.parent.name:
        yield place.parent


def _records(table: FilePlace) -> Iterator[FilePlace]:
    """Raises CommandError if the store cannot be read."""
    for name in RECORDS:
        place = table / name
        try:
            yield from place.rglob("*") if isinstance(place, Path) else place.objects_below()
        except OSError as error:
            raise read_error(place, error) from None
