"""`predict` for files and streams of Arrow."""

import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from serving_runtime.codec.repeated_texts import repeated
from serving_runtime.commands.kept_columns import KeepingWriter
from serving_runtime.commands.rows import chunks
from serving_runtime.commands.writers import WRITERS
from serving_runtime.input.conform import conformer
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables.arrow_stream import read_stream

COLUMNS = ["fixed acidity", "pH", "alcohol"]
FRAME = pd.DataFrame([[7.4, 3.5, 9.4], [6.3, 3.2, 10.1], [8.1, 3.3, 9.9]], columns=COLUMNS)
CSV = FRAME.to_csv(index=False)
TABLE = pa.Table.from_pandas(FRAME, preserve_index=False)
Run = Callable[..., Any]


def written(new: Callable[..., Any], table: pa.Table = TABLE, **options: Any) -> bytes:
    """Return the table as a file or stream of Arrow that has a batch for each row."""
    target = io.BytesIO()
    with new(target, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=1)
    return target.getvalue()


def with_others() -> pa.Table:
    """Return the rows with their columns in another order, types that are cast, and columns that the model leaves."""
    months = pa.array([None, None, None], pa.month_day_nano_interval())
    codes = pa.array(["a", "b", "a"]).dictionary_encode()
    floats = TABLE.select(["alcohol", "pH", "fixed acidity"])
    return floats.append_column("months", months).append_column("code", codes)


READ: dict[str, bytes] = {
    "file.arrow": written(ipc.new_file),
    "compressed.ipc": written(ipc.new_file, compression="zstd"),
    "stream.arrows": written(ipc.new_stream),
    "compressed stream.arrow": written(ipc.new_stream, compression="lz4"),
    "other columns.arrow": written(ipc.new_file, with_others()),
    "other columns.arrows": written(ipc.new_stream, with_others()),
}


@pytest.mark.parametrize("name", [*READ, "pandas.feather"])
def test_rows_are_scored_as_those_of_csv(name: str, run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    if name in READ:
        (tmp_path / "in" / name).write_bytes(READ[name])
    else:
        FRAME.to_feather(tmp_path / "in" / name)

    plain = run("predict", "--model-path", models / "wine", stdin=CSV.encode())
    ended = run("predict", "--model-path", models / "wine", tmp_path / "in", "--output-format", "csv")

    assert (ended.code, ended.out) == (0, plain.out), ended.err


@pytest.mark.parametrize("name", READ)
def test_arrow_comes_through_a_pipe(name: str, run: Run, run_with_pipe: Run, models: Path) -> None:
    command = ["predict", "--model-path", models / "wine"]

    plain = run(*command, stdin=CSV.encode())
    ended = run_with_pipe(*command, "--input-format", "arrow", stdin=READ[name])

    assert (ended.code, ended.out) == (0, plain.out), ended.err


def test_part_of_a_file_of_arrow_is_parquet_with_the_kept_columns(run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "day.arrow", tmp_path / "out"
    source.write_bytes(written(ipc.new_file, with_others()))

    ended = run("predict", "--model-path", models / "wine", source, "-o", f"{output}/", "--keep-columns", "code,pH")

    assert ended.code == 0, ended.err
    rows = pd.read_parquet(output / "day.parquet")
    assert rows["code"].tolist() == ["a", "b", "a"]
    assert rows["pH"].tolist() == FRAME["pH"].tolist()
    assert rows["prediction"].notna().all()


def of_polars() -> pa.Array:
    """Return texts as polars 2.1 writes a Categorical: by their place among views."""
    return pa.DictionaryArray.from_arrays([0, 1, None], pa.array(["red", "white"]).cast(pa.string_view()))


def test_categories_of_polars_are_kept_as_texts_in_parquet(run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.arrow", tmp_path / "out.parquet"
    source.write_bytes(written(ipc.new_file, TABLE.append_column("kind", of_polars())))

    ended = run("predict", "--model-path", models / "wine", source, "-o", output, "--keep-columns", "kind")

    assert ended.code == 0, ended.err
    assert parquet.read_table(output)["kind"].to_pylist() == ["red", "white", None]


OF_EXTENSIONS = pa.table(
    {
        "x": [1.5, 2.5],
        "id": pa.array([bytes(15) + b"\5", None], pa.uuid()),
        "document": pa.array(['{"a": 1}', None], pa.json_(pa.string_view())),
        "flag": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
    }
)


def test_columns_of_the_extensions_of_arrow_are_read_and_kept() -> None:
    signature = Signature(columns=(Column(name="id", type=Scalar(name="string"), required=True),))
    table = io.BytesIO(written(ipc.new_file, OF_EXTENSIONS.slice(0, 1)))

    [chunk] = chunks(table, "arrow", signature, 10, ["document", "flag"])
    lines = io.BytesIO()
    keeping = KeepingWriter(WRITERS["jsonl"](lines), typed=False)
    keeping.write(chunk.kept or {}, [0.5])
    keeping.close()

    assert conformer(signature)(chunk.request(0, 1)).data["id"].tolist() == [str(uuid.UUID(int=5))]
    assert json.loads(lines.getvalue()) == {"document": '{"a": 1}', "flag": True, "prediction": 0.5}


def test_texts_of_an_extension_count_as_often_as_they_are_named() -> None:
    body = written(ipc.new_stream, OF_EXTENSIONS)

    assert read_stream(body)["document"].to_pylist() == ['{"a": 1}', None]
    assert repeated(OF_EXTENSIONS["document"].chunk(0)) == len('{"a": 1}')


NOT_IN_PARQUET = {
    "months": pa.array([pa.MonthDayNano((1, 2, 3))] * 3),
    "a time beyond those of Parquet": pa.array([1 << 62] * 3, pa.timestamp("s")),
    "objects without members": pa.array([{}] * 3, pa.struct([])),
}


@pytest.mark.parametrize("name", NOT_IN_PARQUET)
def test_kept_column_that_parquet_cannot_hold_is_refused(name: str, run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.arrow", tmp_path / "out.parquet"
    source.write_bytes(written(ipc.new_file, TABLE.append_column("kept", NOT_IN_PARQUET[name])))

    ended = run("predict", "--model-path", models / "wine", source, "-o", output, "--keep-columns", "kept")

    assert (ended.code, "Parquet cannot hold a kept column" in ended.err) == (2, True), ended.err
    assert not output.exists()


def test_refused_row_has_its_number_among_all_batches(run: Run, models: Path, tmp_path: Path) -> None:
    texts = TABLE.set_column(1, "pH", pa.array(["3.5", "3.2", "sour"]))
    source = tmp_path / "texts.arrow"
    source.write_bytes(written(ipc.new_file, texts))

    ended = run("predict", "--model-path", models / "wine", source, "--errors", tmp_path / "errors")

    refused = [json.loads(line)["place"] for line in (tmp_path / "errors").read_text().splitlines()]
    assert refused == ["row 1", "row 2", "row 3"], ended.err


def old_feather() -> bytes:
    target = io.BytesIO()
    with pytest.deprecated_call():
        feather.write_feather(TABLE, target, version=1)
    return target.getvalue()


RUNS = TABLE.set_column(1, "pH", pa.RunEndEncodedArray.from_arrays([3], [3.5]))
REFUSED: dict[str, tuple[bytes, str]] = {
    "cut file": (written(ipc.new_file)[:-20], "the file cannot be read as Arrow"),
    "cut stream": (written(ipc.new_stream)[:-300], "the file cannot be read as Arrow"),
    "stream without its last batch": (
        written(ipc.new_stream)[: -written(ipc.new_stream)[:-8][::-1].find(b"\xff" * 4) - 4 - 8],
        "the stream of Arrow has no end after 2 rows",
    ),
    "stream without an end": (written(ipc.new_stream)[:-8], "the stream of Arrow has no end after 3 rows"),
    "a name that is no UTF-8": (
        written(ipc.new_stream).replace(b"pH\0", b"p\xff\0", 1),
        "the name of a column, or another text in it, is not UTF-8",
    ),
    "CSV": (CSV.encode(), "the file cannot be read as Arrow"),
    "nothing": (b"", "the file cannot be read as Arrow"),
    "Feather of version 1": (old_feather(), "the file is Feather of version 1; write it as Parquet"),
    "no rows and other columns": (
        written(ipc.new_file, TABLE.select(["pH"]).slice(0, 0)),
        "fixed acidity",
    ),
    "a name twice": (written(ipc.new_file, TABLE.rename_columns(["pH", "pH", "alcohol"])), "pH"),
    "a type that is not read": (
        written(ipc.new_file, RUNS),
        'the column "pH" has the Arrow type run_end_encoded',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_content_is_refused(name: str, run: Run, models: Path, tmp_path: Path) -> None:
    content, problem = REFUSED[name]
    (tmp_path / "rows.arrow").write_bytes(content)

    ended = run("predict", "--model-path", models / "wine", tmp_path / "rows.arrow", "-o", tmp_path / "out.csv")

    assert (ended.code, problem in ended.err) == (3, True), ended.err
    assert not (tmp_path / "out.csv").exists()


def test_predictions_are_not_written_as_arrow(run: Run, models: Path, tmp_path: Path) -> None:
    ended = run("predict", "--model-path", models / "wine", "-o", tmp_path / "out.feather", stdin=CSV.encode())

    assert (ended.code, "which is not written; name it .parquet" in ended.err) == (3, True), ended.err
