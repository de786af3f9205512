"""`predict` for tables as other programs write them: other types, names and order, damaged and encrypted files."""

import csv
import io
import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.parquet_rows import parquet_chunks
from serving_runtime.commands.rows import chunks
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.request import TypedFrame
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables import csv_blocks
from serving_runtime.tables.csv_blocks import BLOCK
from testbed.encrypted_parquet import encryption_of

Run = Callable[..., Any]
NAMES = ["fixed acidity", "pH", "alcohol"]
WINE = pa.table([pa.array([7.5, 6.25]), pa.array([3.5, 3.25]), pa.array([9.5, 10.0])], NAMES)
WINE_SIGNATURE = Signature(
    columns=tuple(Column(name=name, type=Scalar(name="double"), required=True) for name in NAMES)
)
NOON = datetime(2024, 1, 31, 12, 0)  # noqa: DTZ001  what a column without a zone holds
SCALARS = {
    "boolean": pa.array([True]),
    "integer": pa.array([1], pa.int32()),
    "long": pa.array([1]),
    "float": pa.array([1.5], pa.float32()),
    "double": pa.array([1.5]),
    "string": pa.array(["00123"]),
    "binary": pa.array([b"ab"]),
    "datetime": pa.array([NOON], pa.timestamp("ns")),
}


def scored(run: Run, model: Path, table: pa.Table, source: Path, **options: Any) -> Any:
    parquet.write_table(table, source, **options)
    return run("predict", "--model-path", model, source, "--output-format", "jsonl")


def with_ph(column: pa.Array) -> pa.Table:
    return WINE.set_column(1, "pH", column)


def test_parquet_file_of_decimals_is_scored_and_its_wrong_row_is_named(run: Run, models: Path, tmp_path: Path) -> None:
    source, wrong = tmp_path / "rows.parquet", tmp_path / "wrong.parquet"
    form = pa.decimal128(20, 17)
    rows = [[Decimal("7.4"), Decimal("3.5"), Decimal("9.4")], [Decimal("6.3"), Decimal("3.2"), Decimal("9.1")]]
    parquet.write_table(pa.table([pa.array(column, form) for column in zip(*rows, strict=True)], NAMES), source)
    rows[1][1] = Decimal("3.12345678901234567")
    parquet.write_table(pa.table([pa.array(column, form) for column in zip(*rows, strict=True)], NAMES), wrong)
    doubles = "fixed acidity,pH,alcohol\n7.4,3.5,9.4\n6.3,3.2,9.1\n"

    scored = run("predict", "--model-path", models / "wine", source)
    refused = run("predict", "--model-path", models / "wine", wrong)

    assert (scored.code, scored.out) == (0, run("predict", "--model-path", models / "wine", stdin=doubles.encode()).out)
    assert (refused.code, refused.err.startswith('error: row 2: "pH": ')) == (3, True)


SAME = {
    "another order": WINE.select(["alcohol", "fixed acidity", "pH"]),
    "more columns": WINE.append_column("note", pa.array([["a"], None])),
    "float32": with_ph(WINE["pH"].cast(pa.float32())),
    "float16": with_ph(pa.array([np.float16(3.5), np.float16(3.25)])),
    "a dictionary": with_ph(WINE["pH"].dictionary_encode()),
    "decimals": with_ph(WINE["pH"].cast(pa.decimal128(10, 2))),
    "many row groups": WINE,
}


@pytest.mark.parametrize("form", SAME)
def test_same_values_in_another_form_have_the_same_predictions(
    form: str, run: Run, models: Path, tmp_path: Path
) -> None:
    options = {"row_group_size": 1} if form == "many row groups" else {}

    other = scored(run, models / "wine", SAME[form], tmp_path / "other.parquet", **options)
    plain = scored(run, models / "wine", WINE, tmp_path / "plain.parquet")

    assert (other.code, other.out) == (0, plain.out), other.err


SAME_SCALARS = {
    "seconds": ("datetime", pa.array([NOON], pa.timestamp("s"))),
    "microseconds": ("datetime", pa.array([NOON], pa.timestamp("us"))),
    "int96": ("datetime", pa.array([NOON], pa.timestamp("ns"))),
    "a zone": ("datetime", pa.array([NOON]).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Asia/Tokyo"))),
    "large_string": ("string", pa.array(["00123"], pa.large_string())),
    "string_view": ("string", pa.array(["00123"], pa.string_view())),
    "a dictionary of texts": ("string", pa.array(["00123"]).dictionary_encode()),
    "large_binary": ("binary", pa.array([b"ab"], pa.large_binary())),
    "fixed_size_binary": ("binary", pa.array([b"ab"], pa.binary(2))),
    "doubles that are whole": ("integer", pa.array([1.0])),
    "int8": ("long", pa.array([1], pa.int8())),
    "uint64": ("long", pa.array([1], pa.uint64())),
    "float64 for a float": ("float", pa.array([1.5])),
}


@pytest.mark.parametrize("form", SAME_SCALARS)
def test_model_gets_the_same_values_from_another_type(form: str, run: Run, models: Path, tmp_path: Path) -> None:
    name, column = SAME_SCALARS[form]
    options = {"use_deprecated_int96_timestamps": form == "int96"}

    other = scored(run, models / "scalars", pa.table({**SCALARS, name: column}), tmp_path / "other.parquet", **options)
    plain = scored(run, models / "scalars", pa.table(SCALARS), tmp_path / "plain.parquet")

    assert (other.code, other.out) == (0, plain.out), other.err


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_date_is_its_midnight_as_in_a_csv_file(kind: pa.DataType, run: Run, models: Path, tmp_path: Path) -> None:
    dates = pa.table({**SCALARS, "datetime": pa.array([date(2024, 1, 31)], kind)})
    midnight = pa.table({**SCALARS, "datetime": pa.array([datetime(2024, 1, 31)])})  # noqa: DTZ001  as above

    ended = scored(run, models / "scalars", dates, tmp_path / "dates.parquet")

    assert (ended.code, ended.out) == (0, scored(run, models / "scalars", midnight, tmp_path / "plain.parquet").out)


def test_uuid_is_its_text_to_the_model_and_beside_predictions(run: Run, models: Path, tmp_path: Path) -> None:
    value = UUID("6fa459ea-ee8a-3ca4-894e-db77e160355e")
    forms = {"uuid": pa.array([value.bytes], pa.uuid()), "text": pa.array([str(value)])}
    for name, column in forms.items():
        parquet.write_table(pa.table({**SCALARS, "string": column}), tmp_path / f"{name}.parquet")
    command = ["predict", "--model-path", models / "scalars", "--keep-columns", "string"]

    for form in ("csv", "jsonl"):
        uuid, text = (run(*command, tmp_path / f"{name}.parquet", "--output-format", form) for name in forms)

        assert (uuid.code, uuid.out) == (0, text.out), uuid.err
        assert str(value) in uuid.out


REFUSED = {
    "texts": ("double", pa.array(["3.5"]), "a string, where the model takes a number"),
    "large_string": ("double", pa.array(["3.5"], pa.large_string()), "a string, where the model takes a number"),
    "booleans": ("double", pa.array([True]), "a boolean, where the model takes a number"),
    "a list": ("double", pa.array([[3.5]]), "an array, where the model takes a number"),
    "a struct": ("double", pa.array([{"a": 3.5}]), "an object, where the model takes a number"),
    "a number for a text": ("string", pa.array([1]), "a number, where the model takes a string"),
    "a fraction": ("integer", pa.array([1.5]), "a number that has a fraction"),
    "a large integer": ("integer", pa.array([2**31]), "a number out of range"),
    "a large uint64": ("long", pa.array([2**63], pa.uint64()), "a number out of range"),
    "a null": ("long", pa.nulls(1), "null"),
    "a time of day": ("datetime", pa.array([time(1, 2)]), "a value of type time"),
    "a duration": ("long", pa.array([5], pa.duration("s")), "a value of type timedelta"),
    "a date out of range": ("datetime", pa.array([date(9999, 1, 1)]), "a date or time"),
    "int96": ("datetime", pa.array([datetime(9999, 12, 31)], pa.timestamp("us")), "or out of range"),  # noqa: DTZ001
}


@pytest.mark.parametrize("form", REFUSED)
def test_value_that_the_type_cannot_hold_is_named(form: str, run: Run, models: Path, tmp_path: Path) -> None:
    name, column, problem = REFUSED[form]

    table, options = pa.table({**SCALARS, name: column}), {"use_deprecated_int96_timestamps": form == "int96"}

    ended = scored(run, models / "scalars", table, tmp_path / "rows.parquet", **options)

    assert (ended.code, ended.out) == (3, ""), ended.err
    assert ended.err.startswith(f'error: row 1: "{name}": ')
    assert problem in ended.err


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["Fixed Acidity", "pH", "alcohol"], 'the column "fixed acidity" is missing'),
        (["pH", "pH", "alcohol"], 'the file has the column "pH" twice'),
    ],
)
def test_other_names_end_the_command(names: list[str], problem: str, run: Run, models: Path, tmp_path: Path) -> None:
    ended = scored(run, models / "wine", WINE.rename_columns(names), tmp_path / "rows.parquet")

    assert (ended.code, problem in ended.err) == (3, True), ended.err


@pytest.mark.parametrize("length", [0, 3, 8, 500, -1, -9])
def test_file_that_is_cut_ends_the_command(length: int, run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.parquet", tmp_path / "out.parquet"
    parquet.write_table(WINE, source)
    source.write_bytes(source.read_bytes()[:length] if length else b"")

    ended = run("predict", "--model-path", models / "wine", source, "-o", output)

    assert (ended.code, "the file cannot be read as Parquet: " in ended.err, output.exists()) == (3, True, False)


def test_file_with_a_damaged_page_ends_the_command(run: Run, models: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    parquet.write_table(WINE, source)
    content = bytearray(source.read_bytes())
    content[40:60] = b"\xff" * 20
    source.write_bytes(content)

    ended = run("predict", "--model-path", models / "wine", source)

    assert (ended.code, "the file cannot be read as Parquet: " in ended.err) == (3, True), ended.err


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_encrypted_file_ends_the_command(plaintext_footer: bool, run: Run, models: Path, tmp_path: Path) -> None:
    properties = encryption_of("pH", plaintext_footer=plaintext_footer)

    ended = scored(run, models / "wine", WINE, tmp_path / "rows.parquet", encryption_properties=properties)

    assert (ended.code, "the file is encrypted, and predict has no keys" in ended.err) == (3, True), ended.err


def test_column_that_changes_its_type_in_the_last_file_is_named_with_the_file(
    run: Run, models: Path, tmp_path: Path
) -> None:
    for number, column in enumerate([WINE["pH"], WINE["pH"].cast(pa.float32()), pa.array(["3.5", "3.25"])]):
        parquet.write_table(with_ph(column), tmp_path / f"{number}.parquet")
    output = tmp_path / "out"
    command = ["predict", "--model-path", models / "wine", *(tmp_path / f"{number}.parquet" for number in range(3))]

    joined = run(*command, "-o", tmp_path / "joined.parquet")
    parts = run(*command, "-o", f"{output}/")

    problem = f'error: {tmp_path}/2.parquet: row 1: "pH": a string, where the model takes a number'
    assert (joined.code, joined.err.startswith(problem), (tmp_path / "joined.parquet").exists()) == (3, True, False)
    assert (parts.code, parts.err.startswith(problem)) == (3, True)
    assert sorted(path.name for path in output.glob("*.parquet")) == ["0.parquet", "1.parquet"]


def test_bad_cell_at_the_end_of_a_large_file_is_named_and_leaves_no_output(
    run: Run, models: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows = 300_000
    with source.open("w") as stream:
        stream.write("fixed acidity,pH,alcohol\n")
        stream.writelines(f"{number % 97 / 10:.20f},3.5,9.4\n" for number in range(rows))
        stream.write("7.4,3.5,9.4%\n")
    assert source.stat().st_size > BLOCK
    command = ["predict", "--model-path", models / "wine", source, "-o", output]

    refused = run(*command)
    assert not output.exists()
    scored = run(*command, "--errors", tmp_path / "errors")

    assert (refused.code, refused.err.startswith(f'error: line {rows + 2}: "alcohol": ')) == (3, True), refused.err
    assert scored.code == 7
    assert json.loads((tmp_path / "errors").read_text())["place"] == f"line {rows + 2}"
    with output.open() as stream:
        assert sum(1 for _ in csv.reader(stream)) == rows + 2


def frames(content: bytes, form: str) -> list[pd.DataFrame]:
    """Return the frames that a model without a signature gets: of each chunk, and of each row alone."""
    found = []
    for chunk in chunks(io.BytesIO(content), form, Signature(), 50_000):
        parts = [(0, chunk.count), *((row, row + 1) for row in range(chunk.count))]
        requests = [chunk.request(first, end).input for first, end in parts]
        found += [request.frame for request in requests if isinstance(request, TypedFrame)]
    return found


def in_parquet(table: pa.Table) -> bytes:
    written = pa.BufferOutputStream()
    parquet.write_table(table, written)
    content: bytes = written.getvalue().to_pybytes()
    return content


def test_row_of_csv_has_the_types_of_its_whole_columns() -> None:
    whole, *rows = frames(b"a,b\n1,x\n2.5,7\n\t \n", "csv")

    assert [len(frame) for frame in (whole, *rows)] == [2, 1, 1]
    assert all((row.dtypes == whole.dtypes).all() for row in rows)


def test_row_of_csv_that_is_longer_than_others_is_no_row_of_an_index() -> None:
    with pytest.raises(InputFileError, match=r"^line 4: 3 values, where the header has 2$"):
        frames(b'a,b\n1,"x\ny"\n1,2,3\n', "csv")


def test_quote_that_is_never_closed_is_named_by_its_line() -> None:
    content = b"fixed acidity,pH,alcohol\n1,2,3\n" + b'1,2,"' + (b"3" * 999 + b"\n") * 18_000
    with pytest.raises(InputFileError, match=r"^line 3 is no CSV: a field has more than 16,777,216 letters"):
        for chunk in chunks(io.BytesIO(content), "csv", WINE_SIGNATURE, 50_000):
            chunk.request(0, chunk.count)


# Rows of another encoding, and of lines without an end, which a file may have any number of.
UNREADABLE_TEXTS = {
    "a cell in Latin-1": (b"a,b\n1,x\n2,M\xfc\n", r"^line 3 is not UTF-8, at byte 4 of the line"),
    "a header in Latin-1": (b"\n\xfc,b\n1,x\n", r"^line 2 is not UTF-8, at byte 1 of the line"),
    "rows on one line": (b"a,b\n1,2\n" + b"3,4," * 5, r"^line 3 begins a record of more than 0 MiB; does each row"),
    "returns of a Macintosh": (
        b"a,b\r1,2\r" * 5,
        "^line 1 begins a record of more than 0 MiB; a line ends with a",
    ),
    "a quote": (b'a,b\n1,"\n' + b"2,x\n" * 9, r"^line 2 begins a record of more than 0 MiB; is a quote missing\?"),
}


@pytest.mark.parametrize("name", UNREADABLE_TEXTS)
def test_text_that_cannot_be_read_is_named_by_its_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, problem = UNREADABLE_TEXTS[name]
    for limit, size in (("BLOCK", 4), ("LONGEST_RECORD", 16), ("LONGEST_HEADER", 16)):
        monkeypatch.setattr(csv_blocks, limit, size)

    with pytest.raises(InputFileError, match=problem):
        frames(content, "csv")


def test_index_of_a_frame_that_pandas_has_written_reaches_the_model() -> None:
    index = pd.Index(["p", "q"], name="patient")
    whole, *rows = frames(in_parquet(pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}, index=index))), "parquet")

    assert whole.index.equals(index)
    assert [row.index[0] for row in rows] == ["p", "q"]


UNUSABLE = {
    "a time after the year 9999": (
        in_parquet(
            pa.table({"a": [1, 2], "t": pa.array([{"u": 0}, {"u": 2**60}], pa.struct([("u", pa.timestamp("us"))]))})
        ),
        r"pandas cannot hold a value \(ValueError\)",
    ),
    "a text that is no UTF-8": (
        in_parquet(pa.table({"t": pa.array([b"\xed"]).view(pa.string())})),
        r"pandas cannot hold a value \(ArrowInvalid\)",
    ),
    "a wrong count of rows": (  # a field of 64 bits, and the list of row groups
        in_parquet(pa.table({"a": [1, 2, 3]})).replace(b"\x16\x06\x19", b"\x16\x08\x19", 1),
        "the file is damaged: of 4 rows it has 3",
    ),
}


@pytest.mark.parametrize("sentence", UNUSABLE)
def test_file_of_parquet_that_pandas_cannot_hold_is_refused(sentence: str) -> None:
    content, problem = UNUSABLE[sentence]
    with pytest.raises((InputFileError, MalformedRequestError), match=problem):
        frames(content, "parquet")


def test_file_of_parquet_whose_writer_did_not_count_the_rows_is_scored() -> None:
    content = in_parquet(pa.table({"a": [1, 2, 3]})).replace(b"\x16\x06\x19", b"\x16\x00\x19", 1)

    assert sum(chunk.count for chunk in chunks(io.BytesIO(content), "parquet", Signature(), 50_000)) == 3


def test_row_of_parquet_that_pandas_cannot_hold_is_refused_alone(run: Run, models: Path, tmp_path: Path) -> None:
    source, refused = tmp_path / "rows.parquet", tmp_path / "refused.jsonl"
    source.write_bytes(UNUSABLE["a time after the year 9999"][0])

    ended = run("predict", "--model-path", models / "free", source, "--output-format", "jsonl", "--errors", refused)

    assert ended.code == 7, ended.err
    assert json.loads(refused.read_text()) == {"place": "row 2", "problem": "pandas cannot hold a value (ValueError)"}


ONLY_ONCE = "__import__('os').mkdir('{}')"  # the second call of the model fails
OTHER_PREDICTIONS = {
    "texts": ("'red'", ["red"] * 2),
    "lists": ("[1, 'red']", [[1, "red"]] * 2),
    "objects": ("{'a': 1, 'b': 'red'}", [{"a": 1, "b": "red"}] * 2),
}


@pytest.mark.parametrize("kind", OTHER_PREDICTIONS)
@pytest.mark.parametrize(("form", "rows"), [("csv", 2), ("parquet", 2), ("parquet", 1)])
def test_predictions_that_are_no_numbers_are_made_once(  # noqa: PLR0913, PLR0917  three cases, three fixtures
    kind: str, form: str, rows: int, run: Run, models: Path, tmp_path: Path
) -> None:
    source = tmp_path / f"rows.{form}"
    one, wanted = OTHER_PREDICTIONS[kind]
    expression = f"{ONLY_ONCE.format(tmp_path / 'made')} or [{one} for _ in range({rows})]"
    table = pa.table({"expression": [expression] * rows})
    if form == "csv":
        table.to_pandas().to_csv(source, index=False, quoting=csv.QUOTE_ALL)
    else:
        parquet.write_table(table, source)

    ended = run("predict", "--model-path", models / "chosen", source, "--output-format", "jsonl")

    assert (ended.code, [json.loads(line) for line in ended.out.splitlines()]) == (0, wanted[:rows]), ended.err


def test_one_value_for_the_only_row_is_predicted_once(run: Run, models: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    expression = f"{ONLY_ONCE.format(tmp_path / 'made')} or 'red'"
    parquet.write_table(pa.table({"expression": [expression]}), source)

    ended = run("predict", "--model-path", models / "chosen", source, "--output-format", "jsonl")

    assert (ended.code, ended.out) == (0, '"red"\n'), ended.err


def test_row_groups_of_the_output_have_several_chunks(run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.parquet", tmp_path / "out.parquet"
    parquet.write_table(pa.concat_tables([WINE] * 50), source)

    ended = run("predict", "--model-path", models / "wine", source, "-o", output, "--chunk-rows", "7")

    found = parquet.ParquetFile(output).metadata
    assert (ended.code, found.num_rows, found.num_row_groups) == (0, 100, 1), ended.err


def test_memory_does_not_grow_with_a_file_of_parquet(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    values = np.random.default_rng(7).normal(size=(100_000, 3))
    table = pa.table(dict(zip(NAMES, values.T, strict=True)))
    with parquet.ParquetWriter(source, table.schema) as writer:
        for _ in range(40):
            writer.write_table(table)  # 2.4 MB, of which Arrow holds all by default

    before, held = pa.total_allocated_bytes(), []
    with source.open("rb") as stream:
        for _ in parquet_chunks(stream, WINE_SIGNATURE, 50_000, (), {}):
            held.append(pa.total_allocated_bytes() - before)

    assert len(held) == 80
    assert max(held) < 20e6 < source.stat().st_size / 4


def test_memory_does_not_grow_with_a_file_of_csv(tmp_path: Path) -> None:
    source, row = tmp_path / "rows.csv", ",".join(["7.4000000000000001"] * 3) + "\n"
    source.write_text(",".join(NAMES) + "\n" + row * 2_000_000)

    before, rows, held, ahead = pa.total_allocated_bytes(), 0, [], []
    with source.open("rb") as stream:
        for chunk in chunks(stream, "csv", WINE_SIGNATURE, 50_000):
            rows += chunk.count
            held.append(pa.total_allocated_bytes() - before)
            ahead.append(stream.tell() - rows * len(row))

    # Two blocks are parsed, one is read, one waits, and one is scored.
    assert rows == 2_000_000
    assert max(held) < 25e6
    assert max(ahead) < 6 * BLOCK < source.stat().st_size / 2


@pytest.mark.parametrize("flat", [True, False], ids=["flat", "nested"])
def test_lists_of_parquet_are_the_rows_of_a_tensor(flat: bool, run: Run, models: Path, tmp_path: Path) -> None:
    pictures = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]
    lists = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]] if flat else pictures

    ended = scored(run, models / "image", pa.table({"x": lists}), tmp_path / "rows.parquet")

    # The model returns what it got, a row at a time.
    seen = [json.loads(line)["input"] for line in ended.out.splitlines()]
    assert ended.code == 0, ended.err
    assert [one["array"] for one in seen] == ["float32"] * 2
    assert [one["shape"] for one in seen] == [[1, 2, 2]] * 2
    assert [one["values"] for one in seen] == [
        [f"float {number}" for number in row] for row in ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    ]


def test_odd_tensor_of_parquet_is_refused_with_its_row(run: Run, models: Path, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"ids": [[1, 2], [3], [5, 6]], "mask": [True, True, False]}), tmp_path / "a.parquet")
    command = ["predict", "--model-path", models / "tensors", tmp_path / "a.parquet"]

    refused = run(*command)
    rest = run(*command, "--errors", tmp_path / "errors")

    assert (refused.code, refused.err[:13]) == (3, "error: row 2:"), refused.err
    assert (rest.code, len(rest.out.splitlines())) == (7, 4)


def test_columns_that_the_model_does_not_take_are_not_read(run: Run, models: Path, tmp_path: Path) -> None:
    wide = WINE.append_column("note", pa.array(["a", "b"])).append_column("a.b", pa.array([1, 2]))

    ended = scored(run, models / "wine", wide, tmp_path / "rows.parquet")
    kept = run("predict", "--model-path", models / "wine", tmp_path / "rows.parquet", "--keep-columns", "a.b")

    assert (ended.code, ended.out) == (0, scored(run, models / "wine", WINE, tmp_path / "plain.parquet").out)
    assert (kept.code, kept.out.splitlines()[0]) == (0, "a.b,prediction"), kept.err
