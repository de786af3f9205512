"""Rows of the inference table: a row for each row of a request, in columns of the types that the signature names.

Inputs are `input_<name>`, parameters `param_<name>`, predictions `prediction`, `prediction_<position>` or
`prediction_<name>`, so that no name of a model meets another one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from serving_runtime.codec.encode import encode
from serving_runtime.codec.returned_values import as_known_type
from serving_runtime.errors import OutputError
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform_plan import Matrix
from serving_runtime.input.merging import merged
from serving_runtime.observability.capture import CapturedPrediction
from serving_runtime.observability.capture_records import request_body, without
from serving_runtime.observability.table_types import (
    Columns,
    arrow_type,
    column,
    is_json,
    prediction_columns,
    tensor_column,
)
from serving_runtime.signature import Signature
from serving_runtime.tables.predictions import PREDICTION

INPUT: Final = "input_"
PARAM: Final = "param_"
REQUEST: Final = "request"  # the column of a whole body, for a model whose input has no fixed columns
FORM: Final = b"model_api.form"  # of the schema's metadata: how `replay` makes a request of a row again
JSON_TEXT: Final = b"model_api.json"  # of a field's metadata: its texts are JSON
TIME: Final = pa.timestamp("us", "UTC")
LISTS: Final = (list, pd.DataFrame, pd.Series)
NUMBERS: Final = "biuf"  # numpy's kinds

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableModel:
    """The model of the rows. `digest` may take long, and is called in the recorder's thread."""

    name: str
    version: str | None
    digest: Callable[[], str | None]
    signature: Signature


class InferenceTable:
    """Turns records into record batches. Columns and keys of the names in `redacted` become null."""

    def __init__(self, model: TableModel, redacted: frozenset[str]) -> None:
        self._model = model
        self._redacted = redacted
        self._told = False
        signature = model.signature
        self._inputs = [
            (column.name, f"{INPUT}{position if column.name is None else column.name}", column.type)
            for position, column in enumerate(signature.columns)
        ]
        self._texts = frozenset(name for _, name, kind in self._inputs if is_json(kind))
        self._form = "body"
        if signature.tensors and not signature.typed_in_code:
            self._form = "tensors" if signature.named else "tensor"
        elif signature.columns and not signature.typed_in_code:
            self._form = "columns" if signature.named else "rows"

    def batches(self, records: Sequence[CapturedPrediction]) -> tuple[list[tuple[pa.RecordBatch, int]], int]:
        """Return batches, each with its number of requests, and the number of requests that cannot be rows."""
        for record in records:
            record.value = _known(record.value)
        found: list[tuple[pa.RecordBatch, int]] = []
        for _, group in groupby(records, _group_key):
            alike = list(group)
            parts = [self._rows_or_none(alike)]
            if parts == [None] and len(alike) > 1:  # one of them is at fault
                parts = [self._rows_or_none([record]) for record in alike]
            found += [part for part in parts if part is not None]
        return found, len(records) - sum(requests for _, requests in found)

    def _rows_or_none(self, records: Sequence[CapturedPrediction]) -> tuple[pa.RecordBatch, int] | None:
        try:
            return self._batch(records), len(records)
        except Exception as error:  # noqa: BLE001  whatever a model takes or returns, the others are recorded
            if len(records) == 1 and not self._told:
                self._told = True
                _log.warning(
                    "a prediction cannot be a row of the inference table; the metrics count such requests",
                    extra={"fields": {"request_id": records[0].request_id, "reason": type(error).__name__}},
                )
            return None

    def _batch(self, records: Sequence[CapturedPrediction]) -> pa.RecordBatch:
        counts = _RowCounts([1 if record.rows is None else record.rows for record in records])
        form = "body" if records[0].rows is None else self._form
        times = np.array([record.at for record in records]) * 1_000_000
        columns: Columns = {
            "time": counts.repeated(times.astype(np.int64), pa.int64()).cast(TIME),
            "request_id": counts.repeated([record.request_id for record in records], pa.string()),
            "row": pa.array(counts.positions(), pa.int32()),
            "model": pa.repeat(pa.scalar(self._model.name, pa.string()), counts.total),
            "version": pa.repeat(pa.scalar(self._model.version, pa.string()), counts.total),
            "digest": pa.repeat(pa.scalar(self._model.digest(), pa.string()), counts.total),
            "protocol": counts.repeated([record.protocol for record in records], pa.string()),
            **self._input_columns(form, records, counts),
            **self._param_columns(records, counts),
            **self._prediction_columns(records, counts),
        }
        fields = [
            pa.field(name, column.type, metadata={JSON_TEXT: b"true"} if name in self._texts else None)
            for name, column in columns.items()
        ]
        schema = pa.schema(fields, {FORM: form.encode()})
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)

    def _input_columns(self, form: str, records: Sequence[CapturedPrediction], counts: "_RowCounts") -> Columns:
        data = [record.data for record in records]
        if form == "body":
            bodies = [
                encode(request_body(record.data, record.params, self._redacted), wrapped=False).decode()
                for record in records
            ]
            return {REQUEST: counts.first_rows(bodies)}
        if form == "tensor":
            return {INPUT.rstrip("_"): self._tensor("input", data)}
        if form == "tensors":
            return {f"{INPUT}{name}": self._tensor(name, [one[name] for one in data]) for name in data[0]}
        return self._table_columns(data, counts)

    def _tensor(self, name: str, data: Sequence[Any]) -> pa.Array:
        column = tensor_column(data)
        return pa.nulls(len(column), column.type) if name in self._redacted else column

    def _table_columns(self, data: Sequence[Any], counts: "_RowCounts") -> Columns:
        values = _values_of_columns(data, counts)
        columns = {}
        for position, (key, name, kind) in enumerate(self._inputs):
            wanted = arrow_type(kind)
            found = None if str(key) in self._redacted else values(position if key is None else key)
            columns[name] = pa.nulls(counts.total, wanted) if found is None else column(found, kind, self._redacted)
        return columns

    def _param_columns(self, records: Sequence[CapturedPrediction], counts: "_RowCounts") -> Columns:
        columns = {}
        for param in self._model.signature.params or ():
            kind = arrow_type(param.type)
            hidden = param.name in self._redacted
            given = [None if hidden else (record.params or {}).get(param.name) for record in records]
            columns[f"{PARAM}{param.name}"] = counts.repeated(given, pa.list_(kind) if param.is_list else kind)
        return columns

    def _prediction_columns(self, records: Sequence[CapturedPrediction], counts: "_RowCounts") -> Columns:
        values = [record.value for record in records]
        if not counts.are_of(values):
            texts = [encode(without(value, self._redacted), wrapped=False).decode() for value in values]
            return {PREDICTION: counts.first_rows(texts)}
        columns = prediction_columns(_joined(values, counts), counts.total, self._redacted)
        return {
            name: pa.nulls(len(found), found.type) if self._is_hidden(name) else found
            for name, found in columns.items()
        }

    def _is_hidden(self, name: str) -> bool:
        return bool({name, name.removeprefix(f"{PREDICTION}_")} & self._redacted)


class _RowCounts:
    """The number of rows of each request."""

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self.total = sum(counts)
        self.are_one = self.total == len(counts) and all(counts)

    def repeated(self, values: Any, kind: pa.DataType) -> pa.Array:
        """Return each value as often as its request has rows."""
        found = pa.array(values, type=kind)
        return found if self.are_one else found.take(pa.array(np.repeat(np.arange(len(self._counts)), self._counts)))

    def first_rows(self, texts: Sequence[str]) -> pa.Array:
        """Return a text at the first row of its request, and null at the others."""
        pairs = zip(texts, self._counts, strict=True)
        return pa.array([cell for text, count in pairs for cell in [text, *[None] * count][:count]], type=pa.string())

    def positions(self) -> Any:
        if self.are_one:
            return np.zeros(self.total, np.int32)
        return np.concatenate([np.arange(count, dtype=np.int32) for count in self._counts])

    def are_of(self, values: Sequence[Any]) -> bool:
        """Return True if each of the values, which are of one kind, has a prediction for each row of its request."""
        first = values[0]
        has_length = first.ndim > 0 if isinstance(first, np.ndarray) else isinstance(first, LISTS)
        return has_length and list(map(len, values)) == self._counts


def _known(value: Any) -> Any:
    """Return a table or an array of another library, such as polars, as one of pandas or numpy."""
    try:
        return value if isinstance(value, np.ndarray) else as_known_type(value)
    except OutputError:  # its row cannot be made, which is counted
        return value


def _group_key(record: CapturedPrediction) -> tuple[Any, ...]:
    """Return the key of a record: records of equal keys are turned into columns together."""
    value = record.value
    if isinstance(value, np.ndarray):
        return type(record.data), record.rows is None, value.ndim, value.dtype, value.shape[1:]
    names = tuple(value.columns) if isinstance(value, pd.DataFrame) else ()
    return type(record.data), record.rows is None, type(value), names


def _joined(values: Sequence[Any], counts: _RowCounts) -> Any:
    if len(values) == 1:
        return values[0].to_numpy() if isinstance(values[0], pd.Series) else values[0]
    match values[0]:
        case np.ndarray(ndim=1, dtype=dtype) if counts.are_one and dtype.kind in NUMBERS:
            return _of_single_rows(values, dtype)
        case np.ndarray():
            return np.concatenate(values)
        case pd.DataFrame():
            return pd.concat(values, ignore_index=True)
        case pd.Series():
            return pd.concat(values, ignore_index=True).to_numpy()
        case _:
            return [item for value in values for item in value]


def _values_of_columns(data: Sequence[Any], counts: _RowCounts) -> Callable[[Any], Any]:
    """Return the function from the name, or the position, of a column to its cells in all requests; None for none."""
    if isinstance(data[0], Matrix) and counts.are_one:
        rows = _of_single_rows([matrix.values for matrix in data], data[0].values.dtype)
        return dict(zip(data[0].columns, rows.reshape(counts.total, -1).T, strict=True)).get
    if isinstance(data[0], Matrix | Blocks):
        whole = merged(data)
        names = whole.columns if isinstance(whole, Matrix) else [n for group in whole.mixed.groups for n in group.names]
        values = whole.values if isinstance(whole, Matrix) else [row for rows in whole.values for row in rows]
        return dict(zip(names, values, strict=True)).get

    def of_frames(key: Any) -> list[Any]:
        columns = (frame[key].tolist() if key in frame else [None] * len(frame) for frame in data)
        return [cell for cells in columns for cell in cells]

    return of_frames


def _of_single_rows(rows: Sequence["np.ndarray[Any, Any]"], dtype: "np.dtype[Any]") -> "np.ndarray[Any, Any]":
    """Return the numbers of rows, one after another, in a third of the time that numpy takes to join them."""
    return np.frombuffer(b"".join(rows), dtype)  # type: ignore[arg-type]  # their types do not say that they are buffers
