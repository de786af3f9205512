"""Columns of a file's directories, added to the rows that the model gets and to the columns that are kept."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from serving_runtime.codec.delimited import read_cell
from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.kept_columns import Kept
from serving_runtime.commands.partitions import Partitions
from serving_runtime.input.request import Request
from serving_runtime.input.table import Table
from serving_runtime.signature import Signature


def with_partitions(chunk: Chunk, partitions: Partitions, signature: Signature, keep: Sequence[str]) -> Chunk:
    """Return the chunk with the columns of the directories, if the file itself has none of the name.

    Raises InputFileError if neither has a column to keep.
    """
    kept = _kept(chunk, partitions, keep) if keep else None
    cells = {
        str(column.name): None if value is None else read_cell(value, column.type)
        for column in signature.columns
        if signature.named and (value := partitions.get(str(column.name), "")) != ""
    }
    if not cells:
        return replace(chunk, kept=kept)
    return replace(
        chunk,
        kept=kept,
        request=lambda first, end: _added(chunk.request(first, end), cells),
        columns=_with_columns(chunk.columns, cells),
    )


def _with_columns(columns: Callable[[], Request] | None, cells: Mapping[str, Any]) -> Callable[[], Request] | None:
    return None if columns is None else lambda: _added(columns(), cells)


def _added(request: Request, cells: Mapping[str, Any]) -> Request:
    table = request.input
    if not isinstance(table, Table):
        return request
    missing = {name: [cell] * table.rows for name, cell in cells.items() if name not in table.columns}
    return replace(request, input=replace(table, columns={**table.columns, **missing})) if missing else request


def _kept(chunk: Chunk, partitions: Partitions, keep: Sequence[str]) -> Kept:
    found = chunk.kept or {}
    if missing := next((name for name in keep if name not in found and name not in partitions), None):
        raise InputFileError(f'the file has no column "{missing}", which --keep-columns names')
    return {
        name: [partitions[name]] * chunk.count if _is_of_directory(name, found, partitions) else found[name]
        for name in keep
    }


def _is_of_directory(name: str, found: Kept, partitions: Partitions) -> bool:
    """Return True if the file has no such column: records of JSON then have a null each."""
    if name not in partitions or name not in found:
        return name in partitions
    return isinstance(found[name], list) and all(value is None for value in found[name])


def expect_columns(names: Collection[str], signature: Signature, partitions: Partitions) -> None:
    """Raise InputFileError for a file without rows that lacks a column: with rows, the first of them is refused."""
    missing = [str(column.name) for column in signature.columns if column.required and signature.named]
    missing = [name for name in missing if name not in names and name not in partitions]
    if missing:
        more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        raise InputFileError(
            f'the column "{missing[0]}" is missing, and the model requires it{more}; there are no rows'
        )


def expect_each_once(names: Sequence[str]) -> None:
    """Raise InputFileError for a file with two columns of one name."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputFileError(f'the file has the column "{twice}" twice; name one of them differently')
