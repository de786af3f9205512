"""A CSV file read by whole columns gives what reading it cell by cell gives: the same values, or nothing at all."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving_runtime.codec.csv_reader import csv_reader
from serving_runtime.codec.delimited import read_csv
from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.input.request import Request
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables import csv_blocks
from serving_runtime.tables.arrow_tables import table_request
from serving_runtime.tables.csv_blocks import BLOCK, CsvBlock, read_csv_blocks
from serving_runtime.tables.csv_columns import PIECE, read_block
from tests.serving_runtime.tables.conftest import EXAMPLES

KINDS = ("boolean", "integer", "long", "float", "double", "string", "datetime", "binary")
CELLS = {
    "boolean": ["true", "True", "TRUE", "false", "False", "FALSE", "1", "0", " true", "true ", "yes", "tRUE", "t"],
    "integer": [
        "0",
        "7",
        "-1",
        "007",
        "+5",
        " 5",
        "5 ",
        "1.0",
        "1e3",
        "2147483647",
        "2147483648",
        "0x1F",
        "0X1f",
        "1_000",
        "٣",
        "--1",
    ],
    "long": [
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1.5",
        "1.0",
        "0x10",
        " 12",
        "9007199254740993.0",
    ],
    "float": ["1.5", "3.4e38", "3.5e38", "1e39", "1e-46", "16777217", "0.1", "nan(1)"],
    "double": [
        "1.5",
        ".5",
        "5.",
        "1e5",
        "1E5",
        "1e400",
        "-1e400",
        "inf",
        "Infinity",
        "-inf",
        "+1.5",
        " 1.5",
        "1.5 ",
        "1,5",
        "1d5",
        "9007199254740993",
        "-9007199254740993",
        "0.1",
        "1e-400",
        "4.9e-324",
        "0x1p3",
        "1__0",
        "nan(7)",
        "NAN",
        "+nan",
        "\t2",
        "-0.0",
    ],
    "string": [
        "00123",
        "NA",
        "null",
        "a b",
        " a ",
        "ä",
        "😀",
        "'",
        "true",
        "1e5",
        "-",
        "x,y",
        'say "hi"',
        "two\nlines",
        "\ttab",
    ],
    "datetime": [
        "2024-01-31",
        "2024-01-31T12:00:00",
        "2024-01-31 12:00:00",
        "2024-01-31T12:00:00Z",
        "2024-01-31T12:00:00+02:00",
        "2024-02-30",
        "2024-01-31T24:00:00",
        "2024-01-31T12:00",
        "2024-01-31T12:00:00.123456789",
        "2024-01-31T12:00:00.1234567890",
        "1600-01-01",
        "1677-09-21T00:12:43.145224193",
        "2262-04-11T23:47:16.854775807",
        "2262-04-12",
        "2024-1-1",
        "2024-01-31t12:00:00z",
        "2024-01-31t12:00:00.123456789z",
        "2024-01-31 12:00:00.123456789+02",
        "2024-01-31 12:00:00.123456789 UTC",
        " 2024-01-31",
        "20240131",
        "2024-01-31T12:00:60",
        "2024-01-31T12:00:00.5Z",
        "0001-01-01",
        "9999-12-31",
    ],
    "binary": ["aGk=", "aGk", "aGk=\n", "__8=", "//8="],
}  # fmt: skip  one list a kind
NULLS = ["", "NA", "null", "NaN", "None", "N/A", "nan", "-nan", "<NA>"]


def signature_of(*kinds: str, required: bool = True) -> Signature:
    columns = (
        Column(name=f"{kind} {place}", type=Scalar(name=kind), required=required) for place, kind in enumerate(kinds)
    )
    return Signature(columns=tuple(columns))


def text_of(signature: Signature, rows: list[tuple[str, ...]]) -> bytes:
    """Every cell that needs quotes has them."""
    lines = [[str(column.name) for column in signature.columns], *rows]
    return "".join(",".join(map(quoted, line)) + "\n" for line in lines).encode()


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\n\r') else cell


def by_cells(text: bytes, signature: Signature) -> Any:
    try:
        return conformer(signature)(Request(input=read_csv(text, signature))).data
    except ServingError:
        return None


def by_columns(text: bytes, signature: Signature) -> Any:
    """None if it is left to the cells: then there is nothing to compare."""
    header, *blocks = read_csv_blocks(io.BufferedReader(io.BytesIO(text)))  # type: ignore[arg-type]  # bytes are a raw stream
    batches = [read_block(header, block, signature) for block in blocks]
    if any(batch is None for batch in batches) or len(batches) != 1:
        return None
    try:
        return conformer(signature)(table_request(batches[0], signature)).data
    except ServingError:
        return None


def assert_same(text: bytes, signature: Signature) -> None:
    columns = by_columns(text, signature)
    if columns is not None:
        cells = by_cells(text, signature)
        assert cells is not None, text
        pd.testing.assert_frame_equal(columns, cells, check_exact=True)


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, Signature]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    signature = signature_of(*kinds, required=draw(st.booleans()))
    cells = [
        st.one_of(
            st.sampled_from(CELLS[kind][:3]), st.sampled_from(CELLS[kind]), st.sampled_from(NULLS), st.text(max_size=4)
        )
        for kind in kinds
    ]
    rows = draw(st.lists(st.tuples(*cells), min_size=1, max_size=6))
    return text_of(signature, rows), signature


@given(tables())
@settings(max_examples=EXAMPLES, deadline=None)
def test_columns_have_the_values_of_the_cells(table: tuple[bytes, Signature]) -> None:
    assert_same(*table)


@pytest.mark.parametrize(("kind", "cell"), [(kind, cell) for kind in KINDS for cell in [*CELLS[kind], *NULLS]])
@pytest.mark.parametrize("required", [True, False])
def test_each_odd_cell_is_the_same_as_columns_and_as_cells(kind: str, cell: str, required: bool) -> None:
    signature = signature_of(kind, "long", required=required)

    assert_same(text_of(signature, [(cell, "1")]), signature)
    assert_same(text_of(signature, [(CELLS[kind][0], "1"), (cell, "2")]), signature)


def test_columns_beside_those_of_the_model_may_have_one_name() -> None:
    signature = signature_of("long")
    text = b"long 0,,,more,more\n1,,,2,3\n"

    assert by_columns(text, signature) is not None
    assert_same(text, signature)


def test_plain_cells_of_every_type_are_read_as_columns() -> None:
    signature = signature_of(*KINDS)

    frame = by_columns(text_of(signature, [tuple(CELLS[kind][0] for kind in KINDS)] * 3), signature)

    assert frame is not None
    assert [frame[name].dtype.kind for name in frame] == [
        "b",
        "i",
        "i",
        "f",
        "f",
        frame["string 5"].dtype.kind,
        "M",
        "O",
    ]


@given(st.binary(max_size=60) | st.text(alphabet='a,"\n', max_size=60).map(str.encode), st.integers(1, 7))
@example(b'a,b\n1,"x\ny"\n2,z\n', 3)
@example(b'a\n"', 1)
@settings(max_examples=EXAMPLES, deadline=None)
def test_blocks_joined_are_the_file_for_every_read_size(text: bytes, size: int) -> None:
    class Slow(io.BytesIO):
        def read1(self, _: int | None = -1) -> bytes:
            return self.read(size)

    try:
        blocks = list(read_csv_blocks(Slow(text)))
    except ServingError:
        assert not text.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")
        return

    assert b"".join(block.text for block in blocks) == text.removeprefix(b"\xef\xbb\xbf")
    assert [block.line for block in blocks] == [
        1 + b"".join(b.text for b in blocks[:i]).count(b"\n") for i in range(len(blocks))
    ]
    [header, *rest] = read_csv_blocks(io.BytesIO(text))
    assert blocks[0] == header
    assert all(block.sound for block in blocks) == all(block.sound for block in (header, *rest))


def test_record_of_many_lines_is_parsed_once_and_not_with_each_piece_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counted(lines: Iterable[str], *, strict: bool = False) -> Any:
        parsed.extend(map(len, lines := list(lines)))
        return csv_reader(lines, strict=strict)

    class Slow(io.BytesIO):
        def read1(self, _: int | None = -1) -> bytes:
            return self.read(8)

    monkeypatch.setattr(csv_blocks, "csv_reader", counted)
    text = b'a,b\n1,"' + b'x""y\n' * 1000 + b'"\n'
    blocks = list(read_csv_blocks(Slow(text)))

    assert [block.text for block in blocks] == [b"a,b\n", text[4:]]
    assert sum(parsed) < 4 * len(text)


@given(st.text(alphabet='a,1"\n', max_size=60).map(str.encode), st.integers(min_value=1, max_value=9))
@example(b'a,b\n1,"x\ny"\n2,z\n', 3)
@example(b"\xef\xbb\xbfa,b\n1,2\n3,4", 5)
@settings(max_examples=EXAMPLES, deadline=None)
def test_blocks_of_a_file_are_those_of_its_text(text: bytes, size: int) -> None:
    """Read in blocks that end within records, which are read again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK", size)
        try:
            blocks = list(read_csv_blocks(io.BytesIO(text), is_file=True))
        except ServingError:
            blocks = []
    try:
        [header, *rest] = read_csv_blocks(io.BytesIO(text))
    except ServingError:
        assert blocks == []
        return

    assert blocks[0] == header
    assert all(block.sound for block in blocks) == all(block.sound for block in (header, *rest))
    assert b"".join(block.text for block in blocks[1:]) == b"".join(block.text for block in rest)
    assert all(block.line == 1 + text_before(blocks, place).count(b"\n") for place, block in enumerate(blocks))


def text_before(blocks: list[CsvBlock], place: int) -> bytes:
    return b"".join(block.text for block in blocks[:place])


@pytest.mark.parametrize("size", [1, 5, BLOCK])
def test_a_block_ends_at_the_end_of_a_record(size: int) -> None:
    text = b'a,b\n1,"x\n""y"\n\n2,z\r\n3,"\n"\n'

    class Slow(io.BytesIO):
        def read1(self, _: int | None = -1) -> bytes:
            return self.read(size)

    blocks = list(read_csv_blocks(Slow(text)))

    assert b"".join(block.text for block in blocks) == text
    assert all(block.text.count(b'"') % 2 == 0 and block.text.endswith(b"\n") for block in blocks)


def test_blocks_that_are_read_in_small_pieces_are_the_file_with_its_lines_and_marks() -> None:
    rows, long = b"1,2\n" * BLOCK, b"x" * (BLOCK + PIECE)
    text = b"a,b\n" + rows + b"3," + long + b"\n" + b"null,5\r\n" * PIECE + b'6,"x\ny"\n' + b"7,8\n" * PIECE + b"9,end"

    blocks = list(read_csv_blocks(io.BytesIO(text), is_file=True))

    assert b"".join(block.text for block in blocks) == text
    assert all(block.text.endswith(b"\n") for block in blocks[:-1])
    line = 1
    for block in blocks:
        assert block.line == line
        assert block.marks >= CsvBlock(content=block.text, line=line).marks
        line += block.text.count(b"\n")


def test_block_of_several_pieces_has_the_rows_of_all() -> None:
    signature = signature_of("double", "string")
    numbers, long = np.random.default_rng(7).normal(size=100_000), "x" * 3 * PIECE
    texts = ["" if row % 7 == 0 else long if row == len(numbers) // 2 else f"row {row}" for row in range(len(numbers))]
    lines = "".join(f"{number},{text}\n" for number, text in zip(numbers.tolist(), texts, strict=True))

    batch = read_block(
        CsvBlock(content=b"double 0,string 1\n", line=1), CsvBlock(content=lines.encode(), line=2), signature
    )

    assert np.array_equal(batch["double 0"], numbers)
    assert batch["string 1"].to_pylist() == [text or None for text in texts]


def test_numbers_are_not_copied_into_python_objects() -> None:
    signature = signature_of("double", "double")
    batch = read_block(
        CsvBlock(content=b"double 0,double 1\n", line=1), CsvBlock(content=b"1.5,2.5\n3.5,\n", line=2), signature
    )

    table = table_request(batch, signature).input

    assert all(isinstance(column, np.ndarray) for column in table.columns.values())  # type: ignore[union-attr]
