"""Conversion of Arrow's record batches into requests, with whole columns that the checks of a request take at once."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.request import Request, TypedFrame
from serving_runtime.input.table import Key, PlaceOfCell, Table
from serving_runtime.input.text_columns import FROM_ARROW, TextCells
from serving_runtime.signature import Scalar, Signature, Type
from serving_runtime.tables.decimals import FLOATS, decimal_cells
from serving_runtime.tables.list_arrays import array_of_lists, nested_values

TEXT: Final = Scalar(name="string")
DATETIME: Final = Scalar(name="datetime")
UNREADABLE: Final = (OverflowError, KeyError, ValueError)  # of Arrow, for a value that Python does not have
NO_VALUE: Final = "a value that Python does not have, such as a time after the year 9999 or a map that has a key twice"
PATH: Final = "table"  # of a batch in the messages about its cells


def table_request(batch: pa.RecordBatch, signature: Signature) -> Request:
    """Return the request for a prediction of each row."""
    return Request(input=as_table(batch, signature, path=PATH, place=lambda name, row: f'{PATH}[{row}]["{name}"]'))


def frame_request(batch: pa.RecordBatch) -> Request:
    """Return the request of the frame that pandas makes of a batch, for a model without a signature.

    Raises MalformedRequestError.
    """
    return Request(input=TypedFrame(frame=pandas_frame(batch)))


def pandas_frame(batch: pa.RecordBatch) -> Any:
    """Raises MalformedRequestError if pandas has no such value, such as a time in the year 52951 in an object."""
    try:
        for column in batch.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column.validate(full=True)  # of a text that is no UTF-8, the first use would fail
        return batch.to_pandas()
    except Exception as error:  # of many kinds, and not only Arrow's
        raise MalformedRequestError(f"pandas cannot hold a value ({type(error).__name__})") from error


def as_table(batch: pa.RecordBatch, signature: Signature, *, path: str, place: PlaceOfCell) -> Table:
    """Return the columns that the model takes as a table, as `of_columns` does. Raises InvalidInputError."""
    names = known_names(batch.schema.names, signature)
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):  # as of a join of Spark
        raise InvalidInputError([Fault(path=path, problem=f'the column "{twice}" comes twice; rename one of them')])
    columns = {name: batch.column(name) for name in names}
    return of_columns(columns, batch.num_rows, signature, path=path, place=place)


def known_names(names: list[str], signature: Signature) -> list[str]:
    """Return the columns that the model takes: by name, or all if they go by position."""
    if not signature.named:
        return names
    wanted = signature.names
    return [name for name in names if name in wanted]


def of_columns(
    columns: Mapping[str, pa.Array], rows: int, signature: Signature, *, path: str, place: PlaceOfCell
) -> Table:
    """Return columns as a table: numbers, booleans and times without a null as arrays, texts as pandas has them, and
    everything else as lists of Python values.

    A null is None in a list; among doubles and floats it is NaN, which is what the model gets for both.
    For a model of tensors, lists of equal lengths are one array. Raises InvalidInputError.
    """
    if signature.tensors:
        tensors = {name: _tensor(column, partial(place, name)) for name, column in columns.items()}
        return Table(columns=tensors, rows=rows, path=path, place=place)
    kinds = types_of(list(columns), signature)
    cells = {name: _cells(column, kinds[name], partial(place, name)) for name, column in columns.items()}
    return Table(columns=cells, rows=rows, path=path, place=place)


def types_of(names: list[str], signature: Signature) -> Mapping[Key, Type | None]:
    """Return the signature's type for each of a file's columns, None for one that it does not know."""
    if not signature.named:
        by_position = dict(zip(names, (column.type for column in signature.columns), strict=False))
        return {name: by_position.get(name) for name in names}
    by_name = {str(column.name): column.type for column in signature.columns}
    return {name: by_name.get(name) for name in names}


def _cells(column: pa.Array, kind: Type | None, place: Callable[[int], str]) -> Any:
    """Return a column's cells. Integers stay integers even with nulls: a double would round those beyond 2**53."""
    column = decoded(column)
    if isinstance(kind, Scalar):
        if pa.types.is_floating(column.type) and (kind in FLOATS or not column.null_count):
            return column.to_numpy(zero_copy_only=False)
        if kind == DATETIME and (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            return _times(column, place)
        if kind == TEXT and FROM_ARROW is not None and _is_text(column):
            return TextCells(FROM_ARROW(column))
        if column.null_count == 0 and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
            return column.to_numpy(zero_copy_only=False)
    if pa.types.is_decimal(column.type):
        return decimal_cells(column, kind)
    if pa.types.is_nested(column.type) and (values := nested_values(column)) is not None:
        return values
    if pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        return list(map(_json_value, _values(column, place)))
    return column.to_pylist()


def _is_text(column: pa.Array) -> bool:
    """Return True for texts that are UTF-8: Arrow does not look at those of a file."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def decoded(column: pa.Array) -> pa.Array:
    """Return the values of a dictionary, the texts of UUIDs, and any other column as it is."""
    if isinstance(column.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    if not pa.types.is_dictionary(column.type):
        return column
    values = column.dictionary
    if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):  # which Arrow cannot take by place
        values = values.cast(pa.large_string() if pa.types.is_string_view(values.type) else pa.large_binary())
    return values.take(column.indices)


def _tensor(column: pa.Array, place: Callable[[int], str]) -> Any:
    """Return lists as an array with a row for each cell, or as Python's lists, in which the checks find the faults."""
    array = array_of_lists(column)
    return _cells(column, None, place) if array is None else array


def _values(column: pa.Array, place: Callable[[int], str]) -> list[Any]:
    """Return Python's values. Raises InvalidInputError if Python has no such value."""
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except UNREADABLE:
        faults = (Fault(path=place(row), problem=NO_VALUE) for row, value in enumerate(column) if not _is_value(value))
        raise InvalidInputError(list(islice(faults, MOST_FAULTS))) from None
    return values


def _is_value(scalar: Any) -> bool:
    try:
        scalar.as_py(maps_as_pydicts="strict")
    except UNREADABLE:
        return False
    return True


def _json_value(value: Any) -> Any:
    """Return a value with its times as the texts that JSON has for them."""
    match value:
        case dict():
            return {name: _json_value(item) for name, item in value.items()}
        case list():
            return [_json_value(item) for item in value]
        case datetime() if value.tzinfo is not None:  # old offsets have seconds, which ISO 8601 has not
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case _:
            return value


def _times(column: pa.Array, place: Callable[[int], str]) -> Any:
    """Return times in UTC without a zone, in nanoseconds, as MLflow gives them to models.

    If one is out of range, all stay texts, and the checks refuse it.
    """
    try:
        zone = getattr(column.type, "tz", None)
        values: np.ndarray[Any, Any] = pc.cast(column, pa.timestamp("ns", zone)).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return list(map(_json_value, _values(column, place)))
    return values.astype("datetime64[ns]")
