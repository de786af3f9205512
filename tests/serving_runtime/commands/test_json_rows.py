"""Rows of JSON files, whose writers leave out what is null."""

import io
import json
from typing import Any, Final

import pytest

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.rows import chunks
from serving_runtime.errors import InvalidInputError
from serving_runtime.input.conform import conformer
from serving_runtime.signature import Column, Scalar, Signature

SIGNATURE: Final = Signature(
    columns=tuple(Column(name=name, type=Scalar(name="double"), required=True) for name in "ab")
)


def text(records: list[dict[str, Any]], form: str) -> bytes:
    return json.dumps(records).encode() if form == "json" else b"\n".join(json.dumps(one).encode() for one in records)


def rows(records: list[dict[str, Any]], form: str, size: int) -> list[Any]:
    """Return each row of the file, conformed alone after all rows of its chunk together."""
    found = []
    for chunk in chunks(io.BytesIO(text(records, form)), form, SIGNATURE, size):
        together = conformer(SIGNATURE)(chunk.request(0, chunk.count)).data
        for row in range(chunk.count):
            alone = conformer(SIGNATURE)(chunk.request(row, row + 1)).data
            assert alone.to_json(orient="records") == together.iloc[[row]].to_json(orient="records")
            found += json.loads(alone.to_json(orient="records"))
    return found


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_null_that_a_record_leaves_out_is_one_in_every_chunk(form: str, size: int) -> None:
    records = [{"a": 1.0, "b": 2.0}, {"a": 3.0}, {"b": 4.0}, {"a": 5.0, "c": 6}]

    assert rows(records, form, size) == [
        {"a": 1.0, "b": 2.0},
        {"a": 3.0, "b": None},
        {"a": None, "b": 4.0},
        {"a": 5.0, "b": None},
    ]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_column_that_no_record_has_is_missing(form: str) -> None:
    with pytest.raises(InvalidInputError, match='the column "b" is missing'):
        rows([{"a": 1.0}, {"a": 2.0, "c": 3.0}], form, 2)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'[{"a": 1},]', "line 1, column 11"),
        (b'[{"a": 1}]\n[{"a": 2}]', "line 2, column 1"),
        (b'[{"a": 1}], "params": {}', "line 1, column 11"),
    ],
)
def test_fault_of_an_array_is_at_its_place_in_the_file(content: bytes, place: str) -> None:
    with pytest.raises(InputFileError, match=rf"the file is not JSON: .* \({place}\)"):
        list(chunks(io.BytesIO(content), "json", SIGNATURE, 4))
