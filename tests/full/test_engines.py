"""Scoring on each engine alike: columns of problems and of partitions, and what ends the command."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from testbed.engines import NULL, ROWS, TIMEOUT, Engines, partition_is_scored, rows, write_partitions

pytestmark = pytest.mark.timeout(TIMEOUT)
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
LOCAL = {
    "spark": ("predict", "--engine", "spark", "--address", "local[2]"),
    "ray": ("predict", "--engine", "ray"),
}
Table = Callable[[int], Path]


@pytest.fixture(params=LOCAL)
def local(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Each engine in turn, on this machine."""
    return LOCAL[request.param]


def test_problem_column_has_the_reasons_and_the_other_rows_their_predictions(
    engines: Engines, local: tuple[str, ...], engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory = table(1)
    odd = rows(0).set_column(2, "count", pa.array([None if row == 7 else 1 for row in range(ROWS)]))
    parquet.write_table(odd, directory / "part-0.parquet")

    ended = engines.run(
        *local, "--model-path", engine_models / "labels", directory, "-o", tmp_path / "out", "--keep-columns", "id",
        "--problem-column", directory=tmp_path,
    )  # fmt: skip

    scored = parquet.read_table(tmp_path / "out").sort_by("id")
    assert ended.code == 7, ended.err
    assert "1 of them have no prediction, see the column problem" in ended.last
    assert scored.column_names == ["id", "word", "score", "problem"]
    assert scored.slice(6, 2).to_pylist() == [
        {"id": 6, "word": "row 6!", "score": 3.0, "problem": None},
        {"id": 7, "word": None, "score": None, "problem": NULL},
    ]


def test_model_that_returns_fewer_rows_ends_the_command(
    engines: Engines, local: tuple[str, ...], engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory = table(1)
    parquet.write_table(
        rows(0).set_column(1, "size", pa.array([-1.0] + [1.0] * (ROWS - 1))), directory / "part-0.parquet"
    )

    ended = engines.run(
        *local, "--model-path", engine_models / "short", directory, "-o", tmp_path / "out", directory=tmp_path
    )

    assert ended.code == 3, ended.err
    assert ended.last == f"error: the model returns {ROWS - 1} predictions for {ROWS} rows, not one for each"


def test_output_that_exists_is_not_touched(
    engines: Engines, local: tuple[str, ...], engine_models: Path, table: Table, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()

    ended = engines.run(
        *local, "--model-path", engine_models / "sum", table(1), "-o", tmp_path / "out", directory=tmp_path
    )

    assert (ended.code, f"error: {tmp_path / 'out'} exists, and an engine writes" in ended.last) == (3, True), ended.err
    assert list((tmp_path / "out").iterdir()) == []


def test_partitions_are_columns_of_the_type_that_the_model_takes(
    engines: Engines, local: tuple[str, ...], engine_models: Path, tmp_path: Path
) -> None:
    write_partitions(tmp_path / "rows")
    wanted = tmp_path / "rows/label=007"

    ended = engines.run(
        *local, "--model-path", engine_models / "sum", wanted, "-o", tmp_path / "out", "--keep-columns", "id,label",
        directory=tmp_path,
    )  # fmt: skip

    assert ended.code == 0, ended.err
    assert partition_is_scored(tmp_path / "out")


def test_null_of_a_partition_is_null(
    engines: Engines, local: tuple[str, ...], engine_models: Path, tmp_path: Path
) -> None:
    for label, count in ((HIVE_NULL, "3"), ("7", HIVE_NULL)):
        place = tmp_path / f"rows/label={label}/count={count}"
        place.mkdir(parents=True)
        parquet.write_table(rows(0, 2).drop_columns(["label", "count"]), place / "part.parquet")

    ended = engines.run(
        *local, "--model-path", engine_models / "sum", tmp_path / "rows", "-o", tmp_path / "out",
        "--keep-columns", "id,label", "--problem-column", directory=tmp_path,
    )  # fmt: skip

    scored = parquet.read_table(tmp_path / "out").sort_by([("label", "ascending"), ("id", "ascending")])
    assert ended.code == 7, ended.err
    assert [(row["label"], row["prediction"], row["problem"]) for row in scored.to_pylist()] == [
        ("7", None, NULL),
        ("7", None, NULL),
        (None, 3.0, None),
        (None, 3.25, None),
    ]


def test_table_without_rows_is_scored_as_one(
    engines: Engines, local: tuple[str, ...], engine_models: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows").mkdir()
    parquet.write_table(rows(0, 0), tmp_path / "rows/part.parquet")

    ended = engines.run(
        *local, "--model-path", engine_models / "sum", tmp_path / "rows", "-o", tmp_path / "out",
        "--keep-columns", "id", directory=tmp_path,
    )  # fmt: skip

    assert (ended.code, ended.last[:7]) == (0, "0 rows "), ended.err
    scored = parquet.read_table(tmp_path / "out")
    assert (scored.num_rows, scored.column_names) == (0, ["id", "prediction"])


def test_source_that_is_missing_ends_the_command(
    engines: Engines, local: tuple[str, ...], engine_models: Path, tmp_path: Path
) -> None:
    ended = engines.run(
        *local, "--model-path", engine_models / "sum", tmp_path / "none", "-o", tmp_path / "out", directory=tmp_path
    )

    assert (ended.code, f"{tmp_path / 'none'}" in ended.last) == (5, True), ended.err
