"""Answers in Arrow's stream: predictions as columns."""

from typing import Any, Final

import pyarrow as pa

from serving_runtime.codec.encode import encode
from serving_runtime.codec.strict_json import read_written
from serving_runtime.errors import OutputError
from serving_runtime.options import Nan
from serving_runtime.tables.arrow_stream import write_stream
from serving_runtime.tables.predictions import PREDICTION, as_predictions

NO_TABLE: Final = "the model does not predict a table of one type a column; accept application/json"


def arrow_answer(value: Any, rows: int | None, nan: Nan) -> bytes:
    """Return the predictions as a stream of one row each, with the columns that `predict` writes. Raises OutputError.

    Columns of doubles have NaN and infinity of their own, so `nan=string` keeps these.
    """
    predictions = None if rows is None else as_predictions(value, rows, finite=nan is not Nan.STRING)
    if predictions is None or (nan is Nan.ERROR and any(column.null_count for column in predictions.table.columns)):
        return write_stream(_of_json(read_written(encode(value, wrapped=False, nan=nan)), rows))
    return write_stream(predictions.table)


def _of_json(value: Any, rows: int | None) -> pa.Table:
    """Return the JSON values of predictions as columns. Raises OutputError."""
    try:
        return pa.table(_columns(value, rows))
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise OutputError(NO_TABLE) from error


def _columns(value: Any, rows: int | None) -> dict[str, Any]:
    """Raises ValueError if there are none."""
    match value:
        case dict() if value and all(isinstance(item, list) and len(item) == rows for item in value.values()):
            return value
        case [dict(first), *_] if all(isinstance(row, dict) and row.keys() == first.keys() for row in value):
            return {name: [row[name] for row in value] for name in first}
        case [list(first), *_] if all(isinstance(row, list) and len(row) == len(first) for row in value):
            return {f"{PREDICTION}_{place}": list(cells) for place, cells in enumerate(zip(*value, strict=True))}
        case list() if not any(isinstance(item, dict | list) for item in value):
            return {PREDICTION: value}
        case _:
            raise ValueError
