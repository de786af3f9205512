"""`predict --keep-columns`: columns of the input beside the predictions."""

import csv
import io
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving_runtime.commands.rows import chunks
from serving_runtime.signature import Signature

Run = Callable[..., Any]
HEADER = "id,fixed acidity,pH,alcohol,note\n"
TEXT = HEADER + '007,7.4,3.5,9.4,"a, ""b"""\nNA,6.3,3.2,10.1,"two\nlines"\n,8.0,3.0,11.0,\n'
KEPT = [("007", 'a, "b"'), ("NA", "two\nlines"), ("", "")]


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(keepends=True)))


def frame() -> pd.DataFrame:
    return pd.DataFrame({"fixed acidity": [7.4, 6.3], "pH": [3.5, 3.2], "alcohol": [9.4, 10.1]})


def typed_table() -> pa.Table:
    return pa.table(
        {
            "day": pa.array([date(2024, 1, 31), None]),
            "price": pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(10, 2)),
            "count": pa.array([1, None], pa.int32()),
            "city": pa.array(["a", "b"]).dictionary_encode(),
            **{name: pa.array(column) for name, column in frame().items()},
        }
    )


@pytest.mark.parametrize("pause", ["", 'quoted,1,2,3,""\n'], ids=["by columns", "cell by cell"])
def test_texts_of_a_csv_file_stay_as_they_are(pause: str, run: Run, models: Path) -> None:
    text = (TEXT + pause).encode()

    ended = run("predict", "--model-path", models / "wine", "--keep-columns", "id,note", stdin=text)

    rows = read_csv(ended.out)
    assert (ended.code, list(rows[0])) == (0, ["id", "note", "prediction"])
    assert [(row["id"], row["note"]) for row in rows[:3]] == KEPT
    assert [row for row in rows if not row["prediction"]] == []


def test_chunks_of_a_block_have_their_own_rows(run: Run, models: Path) -> None:
    rows = "".join(f"{number},{number / 10},3.0,9.0,\n" for number in range(25))
    command = ["predict", "--model-path", models / "wine", "--keep-columns", "id"]

    some = run(*command, "--chunk-rows", "4", stdin=(HEADER + rows).encode())

    assert [row["id"] for row in read_csv(some.out)] == [str(number) for number in range(25)]
    assert some.out == run(*command, stdin=(HEADER + rows).encode()).out


def test_refused_row_keeps_its_columns(run: Run, models: Path, tmp_path: Path) -> None:
    text = (HEADER + "1,high,3.0,9.0,\n2,7.4,3.5,9.4,\n3,x,3.0,9.0,\n").encode()
    command = ["predict", "--model-path", models / "wine", "--keep-columns", "id", "--errors", tmp_path / "errors"]

    for form in ("csv", "parquet", "jsonl"):
        ended = run(*command, "-o", tmp_path / f"out.{form}", stdin=text)
        assert ended.code == 7

    rows = read_csv((tmp_path / "out.csv").read_text())
    assert [(row["id"], bool(row["prediction"])) for row in rows] == [("1", False), ("2", True), ("3", False)]
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert (table["id"].tolist(), table["prediction"].isna().tolist()) == (["1", "2", "3"], [True, False, True])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["id"], line["prediction"] is None) for line in lines] == [("1", True), ("2", False), ("3", True)]


def test_rows_without_any_prediction_keep_their_columns(run: Run, models: Path, tmp_path: Path) -> None:
    text = (HEADER + "1,high,3.0,9.0,\n").encode()

    ended = run(
        "predict", "--model-path", models / "wine", "--keep-columns", "id", "--errors", tmp_path / "e", stdin=text
    )

    assert (ended.code, ended.out) == (7, "id,prediction\n1,\n")


def test_parquet_columns_keep_their_types_in_parquet(run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.parquet", tmp_path / "out.parquet"
    parquet.write_table(typed_table(), source)
    names = ["day", "price", "count", "city"]

    ended = run("predict", "--model-path", models / "wine", source, "-o", output, "--keep-columns", ",".join(names))

    written = parquet.read_table(output)
    assert (ended.code, written.column_names) == (0, [*names, "prediction"])
    assert written.select(names).equals(typed_table().select(names))


def test_columns_keep_their_types_beside_predictions_that_are_no_numbers(
    run: Run, models: Path, tmp_path: Path
) -> None:
    """Each row is a chunk: what Python would make of its values alone is of other types, or is nothing."""
    kept = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "price": pa.array([Decimal("1.5"), Decimal("12345.67")], pa.decimal128(20, 4)),
            "late": pa.array([None, "x"]),
            "exact": pa.array([1, 2], pa.time64("ns")),
            "pairs": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
            "far": pa.array([0, 1], pa.timestamp("us", "Mars/Phobos")),
        }
    )
    parquet.write_table(kept.append_column("expression", pa.array(["'red'"] * 2)), tmp_path / "rows.parquet")
    command = ["predict", "--model-path", models / "chosen", tmp_path / "rows.parquet", "--chunk-rows", "1"]

    ended = run(*command, "-o", tmp_path / "out.parquet", "--keep-columns", ",".join(kept.column_names))
    refused = run(*command, "--keep-columns", "far")

    assert ended.code == 0, ended.err
    assert parquet.read_table(tmp_path / "out.parquet").drop_columns("prediction").equals(kept)
    assert 'the column "far" holds values of timestamp[us, tz=Mars/Phobos] that have no text' in refused.err


@pytest.mark.parametrize(
    ("kind", "other"), [(pa.int64(), ["007"]), (pa.list_(pa.int64()), ["7"])], ids=["a number", "a list"]
)
def test_column_of_another_type_in_a_later_file_is_refused(
    kind: pa.DataType, other: list[str], run: Run, models: Path, tmp_path: Path
) -> None:
    """Arrow would write the text "007" as the number 7, and has no cast of a text to a list."""
    first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
    for file, kept in ((first, pa.array([None], kind)), (second, pa.array(other))):
        parquet.write_table(pa.table({"expression": ["'red'"], "id": kept}), file)
    command = ["predict", "--model-path", models / "chosen", first, second, "-o", tmp_path / "out.parquet"]

    ended = run(*command, "--keep-columns", "id")

    assert (ended.code, (tmp_path / "out.parquet").exists()) == (2, False)
    assert "a Parquet column cannot hold" in ended.err


def test_dictionary_with_a_null_is_kept(run: Run, models: Path, tmp_path: Path) -> None:
    """Arrow writes no such dictionary to Parquet."""
    colours = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["red", None]))
    with pa.ipc.new_file(
        tmp_path / "rows.arrow", pa.schema([("expression", pa.string()), ("colour", colours.type)])
    ) as file:
        file.write(pa.table({"expression": ["'red'"] * 2, "colour": colours}))
    command = ["predict", "--model-path", models / "chosen", tmp_path / "rows.arrow", "--keep-columns", "colour"]
    ended = run(*command, "-o", tmp_path / "out.parquet")

    assert ended.code == 0, ended.err
    assert parquet.read_table(tmp_path / "out.parquet").column("colour").to_pylist() == ["red", None]


def test_kept_cell_is_in_its_column_beside_names_of_rows_as_r_writes_them() -> None:
    [chunk] = chunks(io.BytesIO(b"a,b\nr1,10,x\nr2,20\n"), "csv", Signature(), 50_000, ["a", "b"])

    assert chunk.kept == {"a": ["10", "20"], "b": ["x", None]}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_parquet_columns_are_texts_where_the_file_has_no_such_type(
    form: str, run: Run, models: Path, tmp_path: Path
) -> None:
    source = tmp_path / "rows.parquet"
    parquet.write_table(typed_table(), source)
    command = ["predict", "--model-path", models / "wine", source, "--keep-columns", "day,price,count,city"]

    ended = run(*command, "--output-format", form)

    wanted = {"csv": ["2024-01-31", "1.50", "1", "a"], "jsonl": ["2024-01-31", "1.50", 1, "a"]}
    rows = read_csv(ended.out) if form == "csv" else [json.loads(line) for line in ended.out.splitlines()]
    assert (ended.code, list(rows[0].values())[:4]) == (0, wanted[form])


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_values_of_records_are_kept(form: str, run: Run, models: Path) -> None:
    records = [{**row, "id": {"a": [number]}} for number, row in enumerate(frame().to_dict("records"))]
    text = json.dumps(records) if form == "json" else "\n".join(map(json.dumps, records))
    command = ["predict", "--model-path", models / "wine", "--keep-columns", "id", "--output-format", "jsonl"]

    ended = run(*command, "--input-format", form, stdin=text.encode())

    assert (ended.code, [json.loads(line)["id"] for line in ended.out.splitlines()]) == (0, [{"a": [0]}, {"a": [1]}])


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_long_number_of_a_record_is_kept_whole(form: str, run: Run, models: Path) -> None:
    number = 2**70 + 1
    text = "\ufeff" + json.dumps({**frame().to_dict("records")[0], "id": number})
    command = ["predict", "--model-path", models / "wine", "--keep-columns", "id", "--input-format", "jsonl"]

    ended = run(*command, "--output-format", form, stdin=text.encode())

    assert (ended.code, str(number) in ended.out) == (0, True), ended.out


REFUSED = {
    "none": (HEADER + "1,7.4,3.5,9.4,\n", "csv", 'the file has no column "none", which --keep-columns names'),
    "prediction": ("prediction," + HEADER + "0,1,7.4,3.5,9.4,\n", "csv", 'predicts a column "prediction" too'),
    "id": ('{"dataframe_split": {"columns": ["id"], "data": [[1]]}}', "json", "--keep-columns takes CSV, Parquet, or"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_column_that_cannot_be_kept_ends_the_command(name: str, run: Run, models: Path) -> None:
    text, form, problem = REFUSED[name]
    command = ["predict", "--model-path", models / "wine", "--keep-columns", name, "--input-format", form]

    ended = run(*command, stdin=text.encode())

    assert (ended.code, problem in ended.err) == (3, True), ended.err


def test_text_that_is_not_utf8_in_a_kept_column_ends_the_command(run: Run, models: Path) -> None:
    text = HEADER.encode() + "\xe4,7.4,3.5,9.4,\n".encode("latin-1")

    ended = run("predict", "--model-path", models / "wine", "--keep-columns", "id", stdin=text)

    assert (ended.code, "line 2 is not UTF-8, at byte 1" in ended.err) == (3, True)
