"""Columns of the input that are written with the predictions (`--keep-columns`)."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.codec.csv_reader import csv_reader
from serving_runtime.codec.strict_json import read_written
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.writers import PREDICTION, Writer, record

try:  # the extra `tables`
    import pyarrow as arrow

    from serving_runtime.tables.arrow_tables import decoded
    from serving_runtime.tables.csv_texts import read_texts
    from serving_runtime.tables.predictions import Predictions
except ImportError:
    arrow = None

if TYPE_CHECKING:
    from serving_runtime.tables.csv_blocks import CsvBlock

OF_BOOLEANS: Final = "arrow.bool8"  # name of a type of Arrow, which it casts to the texts 0 and 1
Kept = Mapping[str, Any]
"""For each name a list or an Arrow array, with a value for each row."""


def kept_by_columns(known: Sequence[str], block: "CsvBlock", names: Sequence[str]) -> Kept | None:
    """Return the kept columns of those that the file has; None if Arrow cannot read the block exactly."""
    return read_texts(known, block, [name for name in names if name in known])


def kept_by_cells(known: Sequence[str], rows: Iterable[str], names: Sequence[str], levels: int = 0) -> Kept:
    """Return the kept columns of those that the file has, as texts; None for a row without the cell.

    `levels`: so many cells of an index, which have no name in the header, begin each row.
    """
    cells = [row for row in csv_reader(io.StringIO("".join(rows), newline="")) if row]
    places = {name: levels + known.index(name) for name in names if name in known}
    return {name: [row[at] if at < len(row) else None for row in cells] for name, at in places.items()}


def kept_of_batch(batch: Any, names: Sequence[str]) -> Kept:
    """Return the kept columns that a record batch has."""
    return {name: batch.column(name) for name in names if name in batch.schema.names}


def kept_of_records(records: Iterable[Any], names: Sequence[str]) -> Kept:
    """Return the kept values of JSON records; None for a record without the key."""
    listed = [one if isinstance(one, dict) else {} for one in records]
    return {name: [one.get(name) for one in listed] for name in names}


def kept_of_lines(lines: Iterable[bytes], names: Sequence[str]) -> Kept:
    """Return the kept values of JSON records; None for a line that is no record."""
    return kept_of_records(map(_record_of, lines), names)


def _record_of(line: bytes) -> Any:
    try:
        return read_written(line)
    except ValueError:
        return None


def header_names(header: bytes) -> list[str]:
    """Return the names of the columns in the text of a header; none if it has only empty lines."""
    return next((cells for cells in csv_reader(io.StringIO(header.decode(), newline="")) if cells), [])


class KeepingWriter:
    """Writes kept columns before predictions.

    Rows without a prediction wait for the first prediction, which names the columns.
    """

    def __init__(self, writer: Writer, *, typed: bool) -> None:
        """`typed`: the file has types for all columns of Arrow, as Parquet has."""
        self._writer = writer
        self._typed = typed
        self._names: list[str] = []
        self._waiting: list[tuple[Kept, Sequence[Any]]] = []

    def write(self, kept: Kept, predictions: Sequence[Any]) -> None:
        self._waiting.append((kept, predictions))
        if not self._names:
            self._name(next((list(record(one)) for one in predictions if one is not None), []), kept)
        if self._names:
            self._write_waiting()

    def write_columns(self, kept: Kept, predictions: "Predictions") -> None:
        if self._waiting:
            self.write(kept, predictions.rows())
            return
        self._name(predictions.table.column_names, kept)
        columns = {name: self._column(name, values) for name, values in kept.items()}
        columns |= {name: predictions.table.column(name) for name in self._names}
        self._writer.write_columns(Predictions(table=arrow.table(columns), form="object"))

    def close(self) -> None:
        self._names = self._names or [PREDICTION]
        self._write_waiting()
        self._writer.close()

    def _name(self, names: list[str], kept: Kept) -> None:
        if both := next((name for name in names if name in kept), None):
            raise InputFileError(f'the model predicts a column "{both}" too; leave it out of --keep-columns')
        self._names = names

    def _write_waiting(self) -> None:
        empty = dict.fromkeys(self._names)
        for kept, predictions in self._waiting:
            count = len(predictions)  # the row that ends the command has none
            columns = {name: self._column(name, values[:count]) for name, values in kept.items()}
            arrays = {name: column for name, column in columns.items() if self._typed and not isinstance(column, list)}
            listed = [[None] * count if name in arrays else _listed(column) for name, column in columns.items()]
            cells = (dict(zip(columns, row, strict=True)) for row in zip(*listed, strict=True))
            rows = [
                {**row, **(empty if prediction is None else record(prediction))}
                for row, prediction in zip(cells, predictions, strict=True)
            ]
            self._writer.write(rows, arrays)
        self._waiting.clear()

    def _column(self, name: str, values: Any) -> Any:
        """Return the values as they are, or as text if the file has no such type."""
        if isinstance(values, list):
            return values
        if self._typed:
            return decoded(values) if _is_unknown_to_parquet(values) else values
        values = decoded(values)
        if getattr(values.type, "extension_name", "") == OF_BOOLEANS:
            values = values.cast(arrow.bool_())
        kind = values.type
        if any(is_kind(kind) for is_kind in (arrow.types.is_integer, arrow.types.is_floating, arrow.types.is_boolean)):
            return values
        try:
            return values.cast(arrow.string())
        except arrow.ArrowNotImplementedError:
            return values  # lists and objects, which JSON has
        except arrow.ArrowInvalid:
            of = "bytes that are no text" if _is_of_bytes(kind) else f"values of {kind} that have no text"
            raise InputFileError(f'the column "{name}" holds {of}; write parquet') from None


def _listed(column: Any) -> list[Any]:
    listed: list[Any] = column if isinstance(column, list) else column.to_pylist()
    return listed


def _is_of_bytes(kind: Any) -> bool:
    types = arrow.types
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(is_kind(kind) for is_kind in tests)


def _is_unknown_to_parquet(values: Any) -> bool:
    """Return True for a dictionary of views, as polars writes it, and for one with a null among its values."""
    types, kind = arrow.types, values.type
    return types.is_dictionary(kind) and bool(
        types.is_string_view(kind.value_type) or types.is_binary_view(kind.value_type) or values.dictionary.null_count
    )
