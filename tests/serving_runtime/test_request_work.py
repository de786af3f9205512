"""Bounds on what a request costs, by its size: compressed bodies, Parquet, CSV and lists of faults."""

import gzip
import io
import json
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving_runtime.codec.decompressed_size import FREE_GROWTH, decompressed_limit
from serving_runtime.codec.delimited import BLOCK, _blocks, read_csv
from serving_runtime.codec.parquet_body import read_parquet
from serving_runtime.errors import MOST_FAULTS, InvalidInputError, MalformedRequestError
from serving_runtime.http.body import decompressed
from serving_runtime.http.errors import DecompressedBodyTooLargeError, GrowingBodyError
from serving_runtime.input.table import from_records, from_split
from serving_runtime.input.tensor import MOST_DIMENSIONS, flatten, plain_array
from serving_runtime.signature import Column, Scalar, Signature

LIMIT = 100 << 20
NO_SIGNATURE = Signature()
ONE_COLUMN = Signature(columns=(Column(name="a", type=Scalar(name="long"), required=True),))


def parquet(table: pa.Table) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd")
    return written.getvalue()


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_that_grows_beyond_its_size_is_refused(encoding: str, pack: object) -> None:
    assert callable(pack)

    with pytest.raises(GrowingBodyError, match="100 times"):
        decompressed(pack(b"0," * 4_000_000), encoding, limit=LIMIT)


def test_a_body_is_unpacked_no_further_than_its_size_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = zlib.decompressobj

    class Counted:
        def __init__(self, header: int) -> None:
            self._inner = real(header)

        def decompress(self, piece: bytes, most: int) -> bytes:
            made.append(self._inner.decompress(piece, most))
            return made[-1]

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    monkeypatch.setattr("serving_runtime.http.body.zlib.decompressobj", Counted)
    compressed = gzip.compress(bytes(50_000_000))

    with pytest.raises(GrowingBodyError):
        decompressed(compressed, "gzip", limit=LIMIT)
    assert sum(map(len, made)) == decompressed_limit(len(compressed)) + 1


def test_a_small_body_may_grow_as_it_will() -> None:
    assert decompressed(gzip.compress(bytes(FREE_GROWTH)), "gzip", limit=LIMIT) == bytes(FREE_GROWTH)


def test_the_limit_of_the_server_is_named_if_it_is_lower() -> None:
    with pytest.raises(DecompressedBodyTooLargeError, match="larger than 1000 bytes"):
        decompressed(gzip.compress(bytes(2000)), "gzip", limit=1000)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a": pa.nulls(5_000_000, pa.int64()).fill_null(0)}),
        pa.table({f"c{number}": pa.nulls(100_000, pa.bool_()).fill_null(True) for number in range(50)}),
        pa.table({"a": pa.DictionaryArray.from_arrays(pa.nulls(2_000, pa.int32()).fill_null(0), ["x" * 50_000])}),
        pa.table({"a": pa.nulls(5_000_000, pa.string())}),
        pa.table({"a": [[0] * 2_000_000] * 2}),
    ],
    ids=["equal numbers", "equal columns", "one long text in every cell", "nulls", "lists of equal numbers"],
)
def test_a_parquet_file_that_grows_beyond_its_size_is_refused_before_pandas_reads_it(
    table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd, "read_parquet", lambda _: pytest.fail("it was read"))

    with pytest.raises(MalformedRequestError, match="100 times as large"):
        read_parquet(parquet(table))


def test_a_parquet_file_of_too_many_columns_is_refused() -> None:
    with pytest.raises(MalformedRequestError, match="more than 2000 columns"):
        read_parquet(parquet(pa.table({f"c{number}": [1] for number in range(2001)})))


def test_parquet_of_too_many_row_groups_is_refused() -> None:
    table = pa.table({f"c{number}": range(101) for number in range(200)})
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=1)
    described = pa.table({"a": [1]}, metadata={"note": "x" * (9 << 20)})

    for body in (written.getvalue(), parquet(described)):
        with pytest.raises(MalformedRequestError, match="too many row groups; write it with more rows in each"):
            read_parquet(body)


def test_usual_parquet_files_are_read() -> None:
    frame = pd.DataFrame({"n": range(10_000), "text": ["red", "green"] * 5_000, "zero": 0.0})
    empty = frame.head(0)

    assert read_parquet(frame.to_parquet()).frame.equals(frame)
    assert list(read_parquet(empty.to_parquet()).frame) == list(empty)


def test_text_of_parquet_that_is_no_utf8_is_refused_with_its_column() -> None:
    buffers = [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff")]
    texts = pa.Array.from_buffers(pa.string(), 2, buffers)

    with pytest.raises(MalformedRequestError, match='the column "t" of the Parquet file holds bytes that are no UTF-8'):
        read_parquet(parquet(pa.table({"n": [1, 2], "t": texts})))


def test_a_csv_of_too_many_short_columns_is_refused_without_a_signature() -> None:
    names = [f"c{number}" for number in range(60_000)]

    with pytest.raises(MalformedRequestError, match="too many columns"):
        read_csv((",".join(names) + "\n" + ",".join("1" * len(names))).encode(), NO_SIGNATURE)
    assert read_csv((",".join(names[:20_000]) + "\n" + ",".join("1" * 20_000)).encode(), NO_SIGNATURE)


def test_lines_of_a_csv_are_read_some_at_a_time() -> None:
    blocks = [len(block) for block in _blocks("a\n" + "1\n" * (2 * BLOCK))]

    assert blocks == [BLOCK, BLOCK, 1]


@pytest.mark.parametrize("at", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_rows_keep_their_numbers_beyond_a_block(at: int) -> None:
    lines = ["a", *("1" for _ in range(2 * BLOCK + 5))]
    lines[at] = "1,2"

    with pytest.raises(InvalidInputError, match=rf"csv\[{at - 1}\]: 2 values"):
        read_csv("\n".join(lines).encode(), ONE_COLUMN)


@pytest.mark.parametrize("at", [1, BLOCK, 2 * BLOCK])
def test_an_empty_line_is_seen_beyond_a_block(at: int) -> None:
    lines = ["a", *("1" for _ in range(2 * BLOCK + 5))]
    lines[at] = ""

    with pytest.raises(MalformedRequestError, match="an empty line"):
        read_csv("\n".join(lines).encode(), ONE_COLUMN)
    assert read_csv(("\n".join(lines[:at]) + "\n\n").encode(), ONE_COLUMN).rows == at - 1  # type: ignore[union-attr]  a table


def test_no_more_faults_are_made_than_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("serving_runtime.input.table.Fault", lambda **fault: made.append(fault) or str(fault))
    monkeypatch.setattr("serving_runtime.codec.delimited.Fault", lambda **fault: made.append(fault) or str(fault))

    for call in (
        lambda: from_split({"columns": ["a"], "data": [[]] * 1000}, "dataframe_split"),
        lambda: from_records([1] * 1000, "dataframe_records"),
        lambda: read_csv(b"a\n" + b"1,2\n" * 1000, ONE_COLUMN),
    ):
        made.clear()
        with pytest.raises(InvalidInputError):
            call()
        assert len(made) == MOST_FAULTS


@pytest.mark.parametrize("levels", [MOST_DIMENSIONS + 1, 64, 65, 500])
def test_lists_deeper_than_any_array_are_refused(levels: int) -> None:
    with pytest.raises(InvalidInputError, match="inputs: lists of more than 32 levels"):
        flatten(json.loads("[" * levels + "]" * levels), "inputs")


def test_lists_as_deep_as_an_array_are_one() -> None:
    value = json.loads("[" * MOST_DIMENSIONS + "1" + "]" * MOST_DIMENSIONS)

    assert plain_array(value, "inputs").ndim == MOST_DIMENSIONS  # type: ignore[union-attr]  an array
