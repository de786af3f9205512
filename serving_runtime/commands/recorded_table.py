"""Requests that are rebuilt from the rows of an inference table. The rows of a request follow each other in a file."""

import base64
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pyarrow import ArrowException, parquet

from model_contract.recordings import INVOCATIONS, PREDICTIONS, Outcome, Recorded
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.observability.inference_table import FORM, INPUT, JSON_TEXT, PARAM, REQUEST
from serving_runtime.tables.predictions import PREDICTION

ROWS: Final = 4096  # that are read at a time

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest(Recorded):
    """A request with predictions from cells of the table: they get the form of the answer to compare with."""

    cells: Sequence[Row]

    def compared(self, status: int, response: Any, tolerance: float) -> tuple[Outcome, str]:
        answer = response.get(PREDICTIONS, response) if isinstance(response, dict) else response
        known = replace(self, response={PREDICTIONS: _in_form_of(answer, self.cells)})
        return Recorded.compared(known, status, {PREDICTIONS: answer}, tolerance)


def table_files(path: Path) -> list[Path]:
    """Return the files of a table, by name. Raises InputFileError if there are none."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*.parquet") if file.name[0] != ".")
    if not files:
        raise InputFileError(f"{path} has no files of Parquet; name the directory of --capture parquet:DIRECTORY")
    return files


def read_table(file: Path) -> Iterator[Recorded]:
    """Yield the requests of a file; their line is their first row. Raises InputFileError."""
    try:
        with parquet.ParquetFile(file) as table:
            schema = table.schema_arrow
            form = (schema.metadata or {}).get(FORM, b"").decode()
            if not form:
                raise InputFileError(f"{file} is no file of an inference table: --capture parquet: writes them")
            texts = frozenset(field.name for field in schema if JSON_TEXT in (field.metadata or {}))
            cells: list[Row] = []
            for number, row in enumerate(_rows(table), 1):
                if row["row"] == 0 and cells:
                    yield _request(form, texts, cells, number - len(cells))
                    cells = []
                cells.append(row)
            if cells:
                yield _request(form, texts, cells, table.metadata.num_rows - len(cells) + 1)
    except (ArrowException, OSError, KeyError) as error:
        problem = str(error).partition("\n")[0]
        raise InputFileError(f"{file} cannot be read as an inference table: {problem}") from None


def _rows(table: "parquet.ParquetFile") -> Iterator[Row]:
    for batch in table.iter_batches(ROWS):
        yield from batch.to_pylist(maps_as_pydicts="strict")


def _request(form: str, texts: frozenset[str], cells: Sequence[Row], line: int) -> TableRequest:
    return TableRequest(
        line=line, path=INVOCATIONS, request=_body(form, texts, cells), response=None, status=200, cells=cells
    )


def _body(form: str, texts: frozenset[str], cells: Sequence[Row]) -> Any:
    """Return a body for `POST /invocations` with the rows as its input."""
    first = cells[0]
    if form == "body":
        return json.loads(first[REQUEST]) if first[REQUEST] else None
    params = {
        name.removeprefix(PARAM): _plain(value)
        for name, value in first.items()
        if name.startswith(PARAM) and value is not None
    }
    more = {"params": params} if params else {}
    names = [name for name in first if name.startswith(INPUT)]
    if form == "tensor":
        return {"inputs": [_plain(row["input"]) for row in cells], **more}
    if form == "tensors":
        return {"inputs": {name.removeprefix(INPUT): [_plain(row[name]) for row in cells] for name in names}, **more}
    data = [[_cell(row[name], is_json=name in texts) for name in names] for row in cells]
    columns = {"columns": [name.removeprefix(INPUT) for name in names]} if form == "columns" else {}
    return {"dataframe_split": {**columns, "data": data}, **more}


def _cell(value: Any, *, is_json: bool) -> Any:
    return json.loads(value) if is_json and value is not None else _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it. A property that is null was most likely absent."""
    match value:
        case datetime.datetime():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items() if item is not None}
        case _:
            return value


def _in_form_of(answer: Any, cells: Sequence[Row]) -> Any:
    """Return the recorded predictions in the form of an answer: a text of JSON stands for a value without a type."""
    names = [name for name in cells[0] if name == PREDICTION or name.startswith(f"{PREDICTION}_")]
    if not isinstance(answer, list) or len(answer) != len(cells):
        return _like(answer, cells[0][names[0]])
    if names == [PREDICTION]:
        return [_like(item, row[PREDICTION]) for item, row in zip(answer, cells, strict=True)]
    if all(isinstance(item, list) for item in answer):
        return [[_plain(row[name]) for name in names] for row in cells]
    return [
        {
            (own := name.removeprefix(f"{PREDICTION}_")): _like(
                item.get(own) if isinstance(item, dict) else None, row[name]
            )
            for name in names
        }
        for item, row in zip(answer, cells, strict=True)
    ]


def _like(item: Any, recorded: Any) -> Any:
    """Return a recorded value in the form of the answer's: a text may be JSON, also that of a text."""
    if not isinstance(recorded, str) or item == recorded:
        return _plain(recorded)
    try:
        value = json.loads(recorded)
    except ValueError:
        return recorded
    return recorded if isinstance(item, str) and not isinstance(value, str) else value
