"""Conversion of Arrow's record batches into requests, with whole columns that the checks of a request take at once."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving_runtime.input.forms import Request
from serving_runtime.input.table import Key, Place, Table
from serving_runtime.signature import Signature, Type
from serving_runtime.tables.decimals import FLOATS, decimal_cells

PATH: Final = "table"  # of a batch in the messages about its cells


def table_request(batch: pa.RecordBatch, signature: Signature) -> Request:
    """Return the request for a prediction of each row."""
    return Request(input=as_table(batch, signature, path=PATH, place=lambda name, row: f'{PATH}[{row}]["{name}"]'))


def as_table(batch: pa.RecordBatch, signature: Signature, *, path: str, place: Place) -> Table:
    """Return the batch as a table: numbers, booleans and times without a null as arrays, everything else as lists of
    Python values.

    A null is None in a list; among doubles and floats it is NaN, which is what the model gets for both.
    """
    kinds = types_of(batch.schema.names, signature)
    return Table(
        columns={name: _cells(batch.column(position), kinds[name]) for position, name in enumerate(batch.schema.names)},
        rows=batch.num_rows,
        path=path,
        place=place,
    )


def types_of(names: list[str], signature: Signature) -> Mapping[Key, Type | None]:
    """Return the signature's type for each of a file's columns, None for one that it does not know."""
    if not signature.named:
        by_position = dict(zip(names, (column.type for column in signature.columns), strict=False))
        return {name: by_position.get(name) for name in names}
    by_name = {str(column.name): column.type for column in signature.columns}
    return {name: by_name.get(name) for name in names}


def _cells(column: pa.Array, kind: Type | None) -> Any:
    """Return a column's cells. Integers beside a null stay integers; pandas' doubles would round those beyond 2**53."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        return _floats(column, kind)
    if pa.types.is_timestamp(column.type):
        return _times(column)
    if pa.types.is_decimal(column.type):
        return decimal_cells(column, kind)
    if column.null_count == 0 and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()


def _floats(column: pa.Array, kind: Type | None) -> Any:
    """Return floats as an array, or as a list if they have nulls that the checks of another type must see."""
    if column.null_count and kind not in FLOATS:
        return column.to_pylist()
    return column.to_numpy(zero_copy_only=False)


def _times(column: pa.Array) -> Any:
    """Return times in UTC without a zone, in nanoseconds, as MLflow gives them to models.

    If one is out of range, all stay texts, and the checks refuse it.
    """
    try:
        values: np.ndarray[Any, Any] = pc.cast(column, pa.timestamp("ns", column.type.tz), safe=True).to_numpy(
            zero_copy_only=False
        )
    except pa.ArrowInvalid:
        return [None if moment is None else moment.isoformat() for moment in column.to_pylist()]
    return values.astype("datetime64[ns]")
