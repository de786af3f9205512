"""Rows of the inference table for every kind of signature, read from its files by DuckDB and pandas."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from serving_runtime.input.conform import conformer
from serving_runtime.input.conform_plan import ConformPlan
from serving_runtime.mlmodel import read_metadata
from serving_runtime.observability.capture import CapturedPrediction
from serving_runtime.observability.inference_table import InferenceTable, TableModel
from serving_runtime.observability.table_files import MOST_UNWRITTEN, RETRY, Rotation, TableWriter
from serving_runtime.protocols.mlflow.request import read_request
from serving_runtime.signature import Column, Scalar, Signature, Tensor

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
OFTEN = Rotation(rows=1_000_000, bytes=1 << 30, seconds=60)
FIXED = ["time", "request_id", "row", "model", "version", "digest", "protocol"]


@dataclass(slots=True)
class Counted:
    """The counters of a recorder."""

    written: int = 0
    failed: int = 0

    def captured(self) -> None: ...

    def capture_behind(self) -> None: ...

    def capture_written(self, requests: int) -> None:
        self.written += requests

    def capture_failed(self, requests: int) -> None:
        self.failed += requests


@dataclass(slots=True)
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True, kw_only=True)
class Table:
    """A table in a directory, and the writer of it."""

    directory: Path
    signature: Signature
    redacted: frozenset[str] = frozenset()
    rotation: Rotation = OFTEN
    version: str = "3"
    counts: Counted = field(default_factory=Counted)
    clock: Clock = field(default_factory=Clock)
    writer: TableWriter = field(init=False)

    def __post_init__(self) -> None:
        model = TableModel(name="wine", version=self.version, digest=lambda: "sha256:abc", signature=self.signature)
        table = InferenceTable(model, self.redacted)
        self.writer = TableWriter(table, self.directory, self.rotation, self.counts, clock=self.clock)

    def record(self, body: Any, value: Any, *, name: str = "a", at: float = NOON) -> CapturedPrediction:
        text = json.dumps(body).encode()
        request = read_request(text, "application/json", self.signature)
        conformed = ConformPlan(self.signature, conformer(self.signature)).conform(request)
        return CapturedPrediction(
            request_id=name,
            protocol="invocations",
            at=at,
            data=conformed.data,
            params=conformed.params,
            rows=conformed.rows,
            value=value,
            size=len(text),
        )

    def write(self, *records: CapturedPrediction) -> None:
        self.writer.write(records)

    def rows(self) -> list[dict[str, Any]]:
        """Close the writer, and return the rows as DuckDB reads them, without those columns that all have."""
        self.writer.close()
        source = f"read_parquet('{self.directory}/**/*.parquet', hive_partitioning=false, union_by_name=true)"
        found = duckdb.sql(f"SELECT * FROM {source} ORDER BY time, request_id, row").df()  # noqa: S608  a path of the test
        columns = [name for name in found if name not in FIXED or name == "row"]
        return [
            {name: plain(cell) for name, cell in row.items()}
            for row in found[columns].astype(object).to_dict(orient="records")
        ]

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.rglob("*.parquet"))


def plain(cell: Any) -> Any:
    match cell:
        case np.ndarray() | list():
            return [plain(item) for item in cell]
        case dict():
            return {key: plain(item) for key, item in cell.items()}
        case bytearray() | bytes():
            return bytes(cell)
        case _:
            return None if pd.isna(cell) else cell.item() if isinstance(cell, np.generic) else cell


@pytest.fixture
def table(models: Path, tmp_path: Path) -> Callable[..., Table]:
    """A table of one of the models, or of a signature."""

    def made(source: str | Signature, **more: Any) -> Table:
        signature = read_metadata(models / source).signature if isinstance(source, str) else source
        return Table(directory=tmp_path / "table", signature=signature, **more)

    return made


SCALARS = {
    "boolean": True,
    "integer": 1,
    "long": 9007199254740993,
    "float": 0.5,
    "double": 0.1,
    "string": "é",
    "binary": "AQID",
    "datetime": "2024-01-31T12:00:00.000001",
}
MOMENT = pd.Timestamp("2024-01-31 12:00:00.000001")
CASES: dict[str, tuple[str, Any, Any, list[dict[str, Any]]]] = {
    "all scalar types": (
        "scalars",
        {"dataframe_records": [SCALARS]},
        np.array([1.5]),
        [{f"input_{name}": value for name, value in SCALARS.items()}
         | {"input_binary": b"\x01\x02\x03", "input_datetime": MOMENT, "prediction": 1.5}],
    ),
    "optional columns that are absent or null": (
        "optional",
        {"dataframe_records": [{"id": 1, "long": None, "string": None, "double": 2.0}, {"id": 2, "datetime": None}]},
        np.array([1, 2]),
        [
            {"input_id": 1} | {f"input_{name}": None for name in SCALARS} | {"input_double": 2.0, "prediction": 1},
            {"input_id": 2} | {f"input_{name}": None for name in SCALARS} | {"prediction": 2},
        ],
    ),
    "columns without names": (
        "unnamed", {"inputs": [[1.5, 2], [2.5, 3]]}, np.array(["a", "b"], dtype=object),
        [{"input_0": 1.5, "input_1": 2, "prediction": "a"}, {"input_0": 2.5, "input_1": 3, "prediction": "b"}],
    ),
    "a list in a cell": (
        "array", {"dataframe_records": [{"values": [1.5, 2]}, {"values": []}]}, [[0.5, 0.25], [1, 2]],
        [{"input_values": [1.5, 2.0], "prediction": "[0.5,0.25]"}, {"input_values": [], "prediction": "[1,2]"}],
    ),
    "lists of different lengths": (
        "unnamed", {"inputs": [[1.5, 2], [2.5, 3]]}, [[1], [2, 3]],
        [{"input_0": 1.5, "input_1": 2, "prediction": "[1]"}, {"input_0": 2.5, "input_1": 3, "prediction": "[2,3]"}],
    ),
    "objects and lists of lists": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1], [2, 3]], "person": {"name": "Ann", "age": 3}}]},
        np.array([[0.5, 0.25]]),
        [{"input_id": 1, "input_matrix": [[1], [2, 3]], "input_person": {"name": "Ann", "age": 3, "mail": None},
          "prediction_0": 0.5, "prediction_1": 0.25}],
    ),
    "maps, and values of any type": (
        "map", {"dataframe_records": [{"counts": {"a": 1}, "anything": {"b": [1, None]}}]}, [True],
        [{"input_counts": {"a": 1}, "input_anything": '{"b":[1,null]}', "prediction": True}],
    ),
    "a tensor": (
        "image", {"inputs": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}, np.array([[[1]], [[2]]]),
        [{"input": [[1.0, 2.0], [3.0, 4.0]], "prediction": "[[1]]"},
         {"input": [[5.0, 6.0], [7.0, 8.0]], "prediction": "[[2]]"}],
    ),
    "a tensor of texts": (
        "texts", {"inputs": ["a", "é"]}, np.array([1, 2], dtype=np.uint8),
        [{"input": "a", "prediction": 1}, {"input": "é", "prediction": 2}],
    ),
    "tensors with names": (
        "tensors", {"inputs": {"ids": [[1, 2], [3, 4]], "mask": [True, False]}},
        pd.DataFrame({"label": ["a", "b"], "score": [0.5, np.nan]}),
        [{"input_ids": [1, 2], "input_mask": True, "prediction_label": "a", "prediction_score": 0.5},
         {"input_ids": [3, 4], "input_mask": False, "prediction_label": "b", "prediction_score": None}],
    ),
    "parameters": (
        "params", {"inputs": {"x": [1, 2]}, "params": {"k": 5, "stop": ["a", "b"]}}, np.array([1.0, 2.0]),
        [{"input_x": x, "param_k": 5, "param_scale": None, "param_label": None, "param_stop": ["a", "b"],
          "prediction": float(x)} for x in (1, 2)],
    ),
    "no signature": (
        "free", {"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}, pd.Series([1.0, 2.0]),
        [{"request": '{"dataframe_split":{"columns":["a"],"data":[[1],[2]]}}', "prediction": 1.0},
         {"request": None, "prediction": 2.0}],
    ),
    "a type hint": ("hinted", {"inputs": [1, 2]}, [2, 3], [{"request": '{"inputs":[1,2]}', "prediction": "[2,3]"}]),
    "numbers of numpy in a list": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, list(np.array([0.5, 2.0])),
        [{"input_x": 1.0, "prediction": 0.5}, {"input_x": 2.0, "prediction": 2.0}],
    ),
    "texts of numpy in a list": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, list(np.array(["a", "1"])),
        [{"input_x": 1.0, "prediction": "a"}, {"input_x": 2.0, "prediction": "1"}],
    ),
    "whole numbers and others": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, [1, 1.5],
        [{"input_x": 1.0, "prediction": 1.0}, {"input_x": 2.0, "prediction": 1.5}],
    ),
    "labels and counts, of which one is missing": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}},
        pd.DataFrame({"label": ["a", None], "count": pd.array([None, 2], dtype="Int64")}),
        [{"input_x": 1.0, "prediction_label": "a", "prediction_count": None},
         {"input_x": 2.0, "prediction_label": None, "prediction_count": 2}],
    ),
    "times in nanoseconds": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, np.array(["2024-01-31T12:00", "NaT"], dtype="M8[ns]"),
        [{"input_x": 1.0, "prediction": "2024-01-31T12:00:00"}, {"input_x": 2.0, "prediction": None}],
    ),
    "whole numbers beyond a column's": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, np.array([2**64 - 1, 1], dtype=np.uint64),
        [{"input_x": 1.0, "prediction": "18446744073709551615"}, {"input_x": 2.0, "prediction": "1"}],
    ),
    "a table of Arrow": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, pa.table({"label": ["a", "b"]}),
        [{"input_x": 1.0, "prediction_label": "a"}, {"input_x": 2.0, "prediction_label": "b"}],
    ),
    "messages of a chat": (
        "free", {"messages": [{"role": "user", "content": "hi"}]}, {"content": "hello"},
        [{"request": '{"messages":[{"role":"user","content":"hi"}]}', "prediction": '{"content":"hello"}'}],
    ),
    "another number of predictions than rows": (
        "one-double", {"inputs": {"x": [1.0, 2.0]}}, [5.0],
        [{"input_x": 1.0, "prediction": "[5.0]"}, {"input_x": 2.0, "prediction": None}],
    ),
    "no rows": ("two-doubles", {"dataframe_split": {"columns": ["a", "b"], "data": []}}, np.array([]), []),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_row_has_the_types_of_the_signature(kind: str, table: Callable[..., Table]) -> None:
    source, body, value, expected = CASES[kind]
    made = table(source)

    made.write(made.record(body, value))

    rows = made.rows()
    assert [{name: cell for name, cell in row.items() if name != "row"} for row in rows] == expected
    assert [row["row"] for row in rows] == list(range(len(expected)))
    assert (made.counts.written, made.counts.failed) == (1, 0)


def test_tensor_of_times_is_a_column_of_times(table: Callable[..., Table]) -> None:
    moments = Tensor(name=None, dtype=np.dtype("datetime64[ns]"), shape=(-1,))
    made = table(Signature(tensors=(moments,)))
    made.write(made.record({"inputs": ["2024-01-31T12:00:00.000001", "2024-02-01"]}, np.array([1.0, 2.0])))

    assert [row["input"] for row in made.rows()] == [MOMENT, pd.Timestamp("2024-02-01")]


def test_every_row_names_model_version_digest_request_and_time(table: Callable[..., Table]) -> None:
    made = table("one-double")
    made.write(made.record({"inputs": {"x": [1.0, 2.0]}}, np.array([1.0, 2.0])))
    made.writer.close()

    frame = pd.read_parquet(made.directory)
    assert frame[FIXED].iloc[1].to_dict() == {
        "time": pd.Timestamp(NOON, unit="s", tz="UTC"),
        "request_id": "a",
        "row": 1,
        "model": "wine",
        "version": "3",
        "digest": "sha256:abc",
        "protocol": "invocations",
    }
    assert list(frame["day"].astype(str)) == ["2026-03-04"] * 2
    days = duckdb.sql(f"SELECT DISTINCT day FROM '{made.directory}/*/*.parquet'").fetchall()  # noqa: S608  a path of the test
    assert days == [(date(2026, 3, 4),)]


def test_many_requests_of_each_way_of_reading_are_one_file(table: Callable[..., Table]) -> None:
    made = table("optional")
    whole = SCALARS | {"id": 0}
    bodies = [whole | {"id": number} if number % 3 else {"id": number} for number in range(1200)]
    for number, body in enumerate(bodies):
        made.write(made.record({"dataframe_records": [body]}, np.array([float(number)]), name=f"{number:04}"))

    rows = made.rows()
    assert [row["input_id"] for row in rows] == list(range(1200))
    assert [row["prediction"] for row in rows] == [float(number) for number in range(1200)]
    assert [row["input_long"] for row in rows[:4]] == [None, SCALARS["long"], SCALARS["long"], None]
    assert len(made.files) == 1


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "uint8", "bool", "object"])
@pytest.mark.parametrize("counts", [[1, 1, 1, 1], [1, 2, 0, 1]], ids=["of one row each", "of different sizes"])
def test_requests_together_are_the_rows_that_each_has(
    counts: list[int], kind: str, table: Callable[..., Table]
) -> None:
    made = table("two-doubles")
    inputs = [[float(number), number / 4] for number in range(4)]
    values = np.array([0, 1, 1, 0]).astype(kind)
    records, begin = [], 0
    for position, count in enumerate(counts):
        rows = inputs[begin : begin + count]
        body = {"dataframe_split": {"columns": ["a", "b"], "data": rows}}
        records.append(made.record(body, values[begin : begin + count], name=f"{position}"))
        begin += count
    made.write(*records)

    rows = made.rows()
    assert [[row["input_a"], row["input_b"]] for row in rows] == inputs
    assert [row["prediction"] for row in rows] == values.tolist()
    assert [row["row"] for row in rows] == [place for count in counts for place in range(count)]


VALUES = {
    "a number": np.array([0.1]),
    "NaN": np.array([np.nan]),
    "infinity": np.array([-np.inf], dtype=np.float32),
    "half a float": np.array([0.5], dtype=np.float16),
    "an unsigned number": np.array([200], dtype=np.uint8),
    "big-endian": np.array([3], dtype=">i4"),
    "a boolean": np.array([True]),
    "probabilities": np.array([[0.25, 0.75]]),
    "one of many columns": np.asfortranarray([[0.25, 0.75], [0.5, 0.5]])[1:],
    "nested": np.array([[[1], [2]]]),
    "no columns": np.empty((1, 0)),
    "a text": np.array(["a"]),
    "a list": [0.5],
}


@pytest.mark.parametrize("redacted", [frozenset[str](), frozenset({"x", "prediction"})], ids=["whole", "redacted"])
@pytest.mark.parametrize("kind", VALUES)
def test_requests_of_any_prediction_together_are_the_rows_of_each(
    kind: str, redacted: frozenset[str], table: Callable[..., Table]
) -> None:
    together, each = table("params", redacted=redacted), table("params", redacted=redacted)
    for made, name in ((together, "together"), (each, "each")):
        made.directory /= name
        made.__post_init__()
    bodies = [{"inputs": {"x": [number]}} | ({"params": {"k": 7}} if number == 2 else {}) for number in range(5)]
    bodies += [{"inputs": {"x": [5, 6]}}, {"inputs": {"x": [7]}}]
    values = [np.array([0.5, 0.25]) if number == 5 else VALUES[kind] for number in range(7)]
    records = [
        each.record(body, value, name=f"{number}", at=NOON + number)
        for number, (body, value) in enumerate(zip(bodies, values, strict=True))
    ]
    together.write(*records)
    for record in records:
        each.writer.write([record])

    rows = together.rows()
    assert rows == each.rows()
    assert [row["input_x"] for row in rows] == ([None] * 8 if redacted else list(range(8)))
    assert (together.counts.written, together.counts.failed) == (7, 0)


def test_names_that_are_redacted_are_null_at_any_depth(table: Callable[..., Table]) -> None:
    made = table("nested", redacted=frozenset({"id", "mail", "score"}))
    person = {"name": "Ann", "age": 3, "mail": "ann@example.com"}
    body = {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": person}]}
    made.write(made.record(body, pd.DataFrame({"score": [0.5], "label": ["b"]})))

    (row,) = made.rows()
    assert (row["input_id"], row["input_person"]["mail"], row["input_person"]["name"]) == (None, None, "Ann")
    assert (row["prediction_score"], row["prediction_label"]) == (None, "b")
    assert b"ann@example.com" not in b"".join(file.read_bytes() for file in made.files)


def test_redacted_parameters_and_texts_of_json_are_null(table: Callable[..., Table]) -> None:
    params = table("params", redacted=frozenset({"k", "key"}))
    params.write(params.record({"inputs": {"x": [1]}, "params": {"k": 5}}, [{"key": "secret", "b": 1}]))

    (row,) = params.rows()
    assert (row["param_k"], row["prediction"]) == (None, '{"key":null,"b":1}')


def test_column_of_any_name_meets_no_other(table: Callable[..., Table]) -> None:
    names = ("time", "row", "prediction", "input_a", "Prediction ")
    columns = tuple(Column(name=name, type=Scalar(name="double"), required=True) for name in names)
    made = table(Signature(columns=columns))
    made.write(made.record({"dataframe_split": {"columns": list(names), "data": [[1, 2, 3, 4, 5]]}}, np.array([0.5])))

    (row,) = made.rows()
    assert [row[f"input_{name}"] for name in names] == [1, 2, 3, 4, 5]
    assert row["prediction"] == 0.5


def test_names_that_differ_only_in_case_are_two_columns(table: Callable[..., Table]) -> None:
    names = ("A", "a", 'a"b.c é')
    columns = tuple(Column(name=name, type=Scalar(name="double"), required=True) for name in names)
    made = table(Signature(columns=columns))
    made.write(made.record({"dataframe_split": {"columns": list(names), "data": [[1, 2, 3]]}}, np.array([0.5])))

    assert made.rows() == [{"row": 0, "input_A": 1, "input_a_1": 2, 'input_a"b.c é': 3, "prediction": 0.5}]
    assert pd.read_parquet(made.files[0])[["input_A", "input_a"]].to_numpy().tolist() == [[1, 2]]


def test_file_is_written_by_rows_by_bytes_and_by_age(table: Callable[..., Table]) -> None:
    def files_of(rotation: Rotation, directory: str, seconds: float) -> int:
        made = table("one-double", rotation=rotation)
        made.directory = made.directory / directory
        made.__post_init__()
        for _ in range(10):
            made.write(*[made.record({"inputs": {"x": [1.0] * 200}}, np.ones(200)) for _ in range(100)])
            made.write()
            made.clock.now += seconds
        made.write()
        assert made.counts.written % 100 == 0
        return len(made.files)

    assert files_of(Rotation(rows=100_000, bytes=1 << 30, seconds=3600), "rows", 0) == 2
    assert files_of(Rotation(rows=1 << 30, bytes=256 << 10, seconds=3600), "bytes", 0) >= 3
    assert files_of(Rotation(rows=1 << 30, bytes=1 << 30, seconds=60), "age", 20) == 2


def test_few_records_wait_until_they_are_old(table: Callable[..., Table]) -> None:
    made = table("one-double", rotation=Rotation(rows=1000, bytes=1 << 30, seconds=60))
    made.write(made.record({"inputs": {"x": [1.0]}}, np.array([1.0])))
    made.clock.now = 59
    made.write()
    assert made.files == []

    made.clock.now = 60
    made.write()
    assert (len(made.files), made.counts.written) == (1, 1)


def test_rows_of_two_days_are_in_two_directories(table: Callable[..., Table]) -> None:
    made = table("one-double")
    midnight = datetime(2026, 3, 5, tzinfo=UTC).timestamp()
    body, value = {"inputs": {"x": [1.0]}}, np.array([1.0])
    made.write(made.record(body, value, at=midnight - 0.001), made.record(body, value, at=midnight))
    made.writer.close()

    assert [file.parent.name for file in made.files] == ["day=2026-03-04", "day=2026-03-05"]


def test_version_with_other_columns_is_read_beside_the_older_one(table: Callable[..., Table]) -> None:
    older = table("one-long")
    older.write(older.record({"inputs": {"x": [1]}}, np.array([1])))
    older.writer.close()
    newer = table("two-doubles", version="4")
    newer.write(newer.record({"dataframe_records": [{"a": 1, "b": 2}]}, np.array([0.5]), name="b"))

    rows = newer.rows()
    assert [(row["input_x"], row["input_a"], row["prediction"]) for row in rows] == [(1, None, 1.0), (None, 1.0, 0.5)]


def test_prediction_of_another_type_is_in_another_file(table: Callable[..., Table]) -> None:
    made = table("one-double")
    for number in range(20):
        value: Any = ["a text"] if number % 2 else np.array([1.0])
        made.write(made.record({"inputs": {"x": [1.0]}}, value, name=f"{number:02}"))
    made.writer.close()

    assert (len(made.files), made.counts.written) == (2, 20)


def test_prediction_that_cannot_be_a_row_is_counted_and_the_others_are_written(
    table: Callable[..., Table], caplog: pytest.LogCaptureFixture
) -> None:
    made = table("one-double")
    body = {"inputs": {"x": [1.0]}}
    values: Sequence[Any] = ([1.0], [object()], [2.0], ["\ud800"], [3.0])
    made.write(*[made.record(body, value, name=str(number)) for number, value in enumerate(values)])
    made.writer.close()

    assert (made.counts.written, made.counts.failed) == (3, 2)
    assert len([line for line in caplog.messages if "cannot be a row" in line]) == 1


def test_no_file_is_seen_before_it_is_whole(table: Callable[..., Table], tmp_path: Path) -> None:
    made = table("one-double")
    made.write(made.record({"inputs": {"x": [1.0]}}, np.array([1.0])))
    (tmp_path / "table").mkdir()
    (tmp_path / "table/day=2026-03-04").mkdir()
    (tmp_path / "table/day=2026-03-04/.half.parquet.partial").write_bytes(b"PAR1 half")

    made.writer.close()
    assert len(pd.read_parquet(tmp_path / "table")) == 1
    assert len(made.rows()) == 1


def test_directory_that_cannot_be_written_is_tried_again_within_a_bound(
    table: Callable[..., Table], caplog: pytest.LogCaptureFixture
) -> None:
    made = table("image", rotation=Rotation(rows=1000, bytes=8 << 20, seconds=3600))
    made.directory.parent.mkdir(exist_ok=True)
    made.directory.write_text("a file")  # in the place of the directory
    image = np.random.default_rng(7).normal(size=(64, 128, 128)).astype(np.float32)
    record = CapturedPrediction(
        request_id="a", protocol="v2", at=NOON, data=image, params=None, rows=64, value=np.ones(64), size=9 << 20
    )
    count = 30 * image.nbytes // MOST_UNWRITTEN + 30
    for _ in range(count):
        made.write(record)
        made.write()
        made.clock.now += RETRY
    assert (made.counts.written, made.counts.failed > 0) == (0, True)
    made.directory.unlink()
    made.clock.now += RETRY
    made.write()
    made.writer.close()

    assert made.counts.written + made.counts.failed == count
    assert made.counts.written * image.nbytes <= MOST_UNWRITTEN + 2 * (8 << 20) + image.nbytes
    assert len([line for line in caplog.messages if "cannot be written" in line]) == 1
    assert sum(len(pd.read_parquet(file, columns=["row"])) for file in made.files) == made.counts.written * 64


def test_turning_records_into_rows_holds_no_one_up(table: Callable[..., Table]) -> None:
    """A thousand records of one row, at which the writer turns them into columns, take some milliseconds.

    One by one they would take seconds; a garbage collection of all that other tests have made takes a part of one.
    """
    made = table("wine")
    names = ["fixed acidity", "pH", "alcohol"]
    record = made.record({"dataframe_split": {"columns": names, "data": [[1, 2, 3]]}}, np.array([1.0]))
    began = time.thread_time()
    made.write(*[record] * 1000)

    assert time.thread_time() - began < 1
