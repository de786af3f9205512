"""Predictions for Arrow record batches: the function that Spark and Ray call for the rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa

from serving_runtime.codec.encode import encode
from serving_runtime.codec.strict_json import read_written
from serving_runtime.errors import OutputError, ServingError
from serving_runtime.input.request import Request
from serving_runtime.model import Model
from serving_runtime.prediction.failed_rows import in_halves, is_of_all_rows, problem_of_row
from serving_runtime.tables.arrow_tables import frame_request, table_request
from serving_runtime.tables.predictions import as_predictions

PROBLEM: Final = "problem"
GIVE_TYPE: Final = "give the result type that it has"


class RefusedRowError(ServingError):
    """A row that cannot be scored. `row` counts from 0 in its batch."""

    status = 400
    error_code = "INVALID_PARAMETER_VALUE"

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row + 1} of the batch: {problem}")
        self.row = row
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScorer:
    """A function from a record batch to the record batch of its predictions, with the columns of `schema`.

    With `problems`, a row that cannot be scored has null as its prediction, and the reason in a last column `problem`.
    """

    model: Model
    schema: pa.Schema
    problems: bool = False

    @property
    def result_schema(self) -> pa.Schema:
        return with_problem(self.schema) if self.problems else self.schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a row for each row of the batch, in their order.

        Raises RefusedRowError for the first row that cannot be scored, if there is no column `problem`. Raises
        ServingError if the fault is one of all rows, such as a missing column.
        """
        found = in_halves(partial(self._predictions, batch), 0, batch.num_rows, _is_of_a_row) if batch.num_rows else ()
        parts = [self._result(first, part) for first, part in found]
        if len(parts) == 1:
            return parts[0]
        table = pa.Table.from_batches(parts, schema=self.result_schema).combine_chunks()
        return next(iter(table.to_batches()), None) or pa.RecordBatch.from_pylist([], schema=self.result_schema)

    def _result(self, first: int, part: pa.RecordBatch | ServingError) -> pa.RecordBatch:
        if isinstance(part, ServingError) and not self.problems:
            raise RefusedRowError(first, problem_of_row(part)) from None
        if not self.problems:
            return part
        if isinstance(part, ServingError):
            columns, reasons = [pa.nulls(1, kind) for kind in self.schema.types], pa.array([problem_of_row(part)])
        else:
            columns, reasons = part.columns, pa.nulls(part.num_rows, pa.string())
        return pa.RecordBatch.from_arrays([*columns, reasons], schema=self.result_schema)

    def _predictions(self, whole: pa.RecordBatch, first: int, end: int) -> pa.RecordBatch:
        batch = whole.slice(first, end - first)
        predicted = self.model.predict(self._request(batch))
        found = as_predictions(predicted, batch.num_rows)
        if found is not None and (found.form != "object" or found.table.column_names == self.schema.names):
            columns: Sequence[Any] = found.table.columns
        else:
            columns = self._columns(read_written(encode(predicted, wrapped=False)), batch.num_rows)
        if len(columns) != len(self.schema):
            raise OutputError(f"the model predicts {len(columns)} columns, not {len(self.schema)}: {GIVE_TYPE}")
        return pa.RecordBatch.from_arrays(
            [_typed(column, field) for column, field in zip(columns, self.schema, strict=True)], schema=self.schema
        )

    def _request(self, batch: pa.RecordBatch) -> Request:
        """Return the request for a prediction of each row; a model without a signature gets the frame of pandas."""
        signature = self.model.metadata.signature
        return frame_request(batch) if signature.says_nothing else table_request(batch, signature)

    def _columns(self, value: Any, rows: int) -> list[list[Any]]:
        """Return the columns of predictions that are no plain numbers, from their JSON value."""
        names = self.schema.names
        if isinstance(value, dict) and set(value) == set(names) and all(_has(cells, rows) for cells in value.values()):
            return [value[name] for name in names]
        if not isinstance(value, list) and rows == 1:
            value = [value]
        if not _has(value, rows):
            count = len(value) if isinstance(value, list) else 1
            raise OutputError(f"the model returns {count} predictions for {rows} rows, not one for each")
        return [list(cells) for cells in zip(*(self._row(one) for one in value), strict=True)]

    def _row(self, prediction: Any) -> Sequence[Any]:
        match prediction:
            case dict() if set(prediction) == set(self.schema.names):
                return [prediction[name] for name in self.schema.names]
            case dict() if (
                len(prediction) == 1 and len(self.schema) == 1 and not pa.types.is_struct(self.schema.types[0])
            ):
                cells: Sequence[Any] = list(prediction.values())  # of a Series, whose name may be another one
            case list() if not (len(self.schema) == 1 and pa.types.is_list(self.schema.types[0])):
                cells = prediction
            case _:
                cells = [prediction]
        if len(cells) != len(self.schema):
            raise OutputError(f"the model predicts {len(cells)} values for a row, not {len(self.schema)}: {GIVE_TYPE}")
        return cells


def with_problem(schema: pa.Schema) -> pa.Schema:
    """Return the schema with the column `problem`. Raises OutputError if it has one."""
    if PROBLEM in schema.names:
        raise OutputError(f"the model predicts a column {PROBLEM} itself; score without a column of problems")
    return schema.append(pa.field(PROBLEM, pa.string()))


def _has(value: Any, rows: int) -> bool:
    return isinstance(value, list) and len(value) == rows


def _typed(column: Any, field: pa.Field) -> pa.Array:
    """Return the column as the type of its field, without loss. Raises OutputError."""
    try:
        if isinstance(column, list):
            return pa.array(column, type=field.type)
        return column.combine_chunks().cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        raise OutputError(f"{field.name}, which the model predicts, is not always {field.type}: {GIVE_TYPE}") from None


def _is_of_a_row(error: ServingError) -> bool:
    """Return False for a fault of all rows, and for predictions of another form."""
    return not isinstance(error, OutputError) and not is_of_all_rows(error)
