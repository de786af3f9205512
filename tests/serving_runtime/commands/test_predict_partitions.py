"""`predict` for partitioned data sets: columns in the names of directories, and `--where`."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.partitions import Condition, partitions_of
from serving_runtime.commands.sources import find_sources

Run = Callable[..., Any]
FRAME = pd.DataFrame({"id": ["a", "b"], "fixed acidity": [7.4, 6.3], "pH": [3.5, 3.2]})


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def predictions(rows: Sequence[Mapping[str, str]]) -> list[float]:
    return [float(row["prediction"]) for row in rows]


def write(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case _:
            frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
def test_column_of_a_directory_is_a_column_of_its_rows(name: str, run: Run, models: Path, tmp_path: Path) -> None:
    write(tmp_path / f"in/alcohol=9.5/{name}", FRAME)
    write(tmp_path / f"in/alcohol=12/{name}", FRAME)
    whole = pd.concat([FRAME.assign(alcohol=12.0), FRAME.assign(alcohol=9.5)])
    options = ["--model-path", models / "wine", "--output-format", "csv"]

    ended = run("predict", *options, tmp_path / "in", "--keep-columns", "id,alcohol")
    wanted = run("predict", *options, write(tmp_path / name, whole))

    rows = read_csv(ended.out)
    assert (ended.code, wanted.code) == (0, 0), ended.err
    # The last bit of a product depends on how many rows are multiplied at once, on some processors.
    assert predictions(rows) == pytest.approx(predictions(read_csv(wanted.out)), rel=1e-12)
    assert [(row["id"], row["alcohol"]) for row in rows] == [("a", "12"), ("b", "12"), ("a", "9.5"), ("b", "9.5")]


def test_block_that_is_read_cell_by_cell_has_the_column_too(run: Run, models: Path, tmp_path: Path) -> None:
    source = tmp_path / "alcohol=9.5/a.csv"
    write(source, FRAME).write_text('note,fixed acidity,pH\n"",7.4,3.5\n')
    plain = tmp_path / "a.csv"
    plain.write_text("alcohol,fixed acidity,pH\n9.5,7.4,3.5\n")

    ended = run("predict", "--model-path", models / "wine", source)

    assert (ended.code, ended.out) == (0, run("predict", "--model-path", models / "wine", plain).out)


def test_column_of_the_file_wins(run: Run, models: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "alcohol=1/a.csv", FRAME.assign(alcohol=9.5))
    plain = write(tmp_path / "a.csv", FRAME.assign(alcohol=9.5))
    options = ["--model-path", models / "wine", "--keep-columns", "alcohol"]

    ended = run("predict", *options, other)

    assert (ended.code, ended.out) == (0, run("predict", *options, plain).out)


def test_value_that_the_model_cannot_take_is_refused(run: Run, models: Path, tmp_path: Path) -> None:
    ended = run("predict", "--model-path", models / "wine", write(tmp_path / "alcohol=high/a.parquet", FRAME))

    assert (ended.code, 'row 1: "alcohol"' in ended.err) == (3, True), ended.err


def test_where_selects_files_by_their_partitions(run: Run, models: Path, tmp_path: Path) -> None:
    for day in ("2024-01-30", "2024-01-31", "2024-02-01"):
        for hour in ("9", "10"):
            write(tmp_path / f"in/day={day}/hour={hour}/a.csv", FRAME.assign(alcohol=9.5))
    options = ["--model-path", models / "wine", "--keep-columns", "day,hour"]

    ended = run("predict", *options, tmp_path / "in", "--where", "day>=2024-01-31", "--where", "hour > 9")

    assert ended.code == 0, ended.err
    assert {(row["day"], row["hour"]) for row in read_csv(ended.out)} == {("2024-01-31", "10"), ("2024-02-01", "10")}


@pytest.mark.parametrize(
    ("condition", "value", "meets"),
    [
        ("hour=9", "09", True),
        ("hour < 10", "9", True),
        ("day<2024-02-01", "2024-01-31", True),
        ("city!=Rome", "Oslo", True),
        ("city = Rome", "Rome", True),
        ("city=Rome", "rome", False),
        ("city != Rome", None, False),
        ("version<10", "9a", False),
    ],
)
def test_conditions_compare_numbers_or_texts(condition: str, value: str | None, meets: bool) -> None:
    parsed = Condition.parse(condition)

    assert parsed.meets({parsed.name: value}, "a.csv") is meets


@pytest.mark.parametrize("condition", ["", "day", "=1", "day=", "day==1", "day<>1", "day=<1"])
def test_condition_of_another_form_is_refused(condition: str, run: Run, models: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run("predict", "--model-path", models / "wine", "--where", condition)

    assert ended.value.code == 2


def test_where_without_such_a_partition_or_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "in/day=1/a.csv", FRAME)

    with pytest.raises(InputFileError, match=r'--where names the partition "hour".*\(they have: day\)'):
        find_sources([str(tmp_path / "in")], None, [Condition.parse("hour=1")])
    with pytest.raises(InputFileError, match="none of the 1 files"):
        find_sources([str(tmp_path / "in")], None, [Condition.parse("day=2")])


def test_names_of_directories_are_decoded() -> None:
    found = partitions_of(["data", "city=S%C3%A3o%20Paulo", "day=__HIVE_DEFAULT_PARTITION__", "=x", "a=b=c"])

    assert found == {"city": "São Paulo", "day": None, "a": "b=c"}


def test_partition_is_in_the_digest_of_a_part(run: Run, models: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in/alcohol=9.5/a.csv", FRAME)
    command = ["predict", "--model-path", models / "wine", "--summary", "json", "-o", f"{tmp_path}/out/"]
    assert run(*command, source.parent).code == 0
    source.parent.rename(tmp_path / "in/alcohol=12")

    again = json.loads(run(*command, tmp_path / "in/alcohol=12").err)

    assert again["parts_before"] == 0


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_kept_partition_is_once_in_the_data_set_that_is_written(
    form: str, run: Run, models: Path, tmp_path: Path
) -> None:
    write(tmp_path / "in/day=1/a.parquet", FRAME.assign(alcohol=9.5))
    write(tmp_path / "in/day=2/a.parquet", FRAME.assign(alcohol=9.5))
    options = ["--model-path", models / "wine", "--keep-columns", "id,day", "--output-format", form]

    ended = run("predict", *options, tmp_path / "in", "-o", f"{tmp_path}/out/")
    alone = run("predict", *options, tmp_path / "in/day=1", "-o", f"{tmp_path}/alone/")

    part = tmp_path / f"out/day=1/a.{form}"
    assert (ended.code, alone.code) == (0, 0), ended.err + alone.err
    if form == "csv":  # which is read one by one
        assert list(pd.read_csv(part).columns) == ["id", "day", "prediction"]
        return
    frame = pd.read_parquet(tmp_path / "out")
    assert list(frame.columns) == ["id", "prediction", "day"]
    assert list(zip(frame["id"], frame["day"], strict=True)) == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert list(pd.read_parquet(tmp_path / "alone").columns) == ["id", "day", "prediction"]
