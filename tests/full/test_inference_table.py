"""The inference table as Spark reads it: two versions of a model beside each other, with every kind of column."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from serving_runtime.observability.capture import CapturedPrediction
from serving_runtime.observability.inference_table import InferenceTable, TableModel
from serving_runtime.observability.table_files import Rotation, TableWriter
from serving_runtime.signature import Array, Column, Map, Object, Property, Scalar, Signature, Tensor, Type
from testbed.engines import TIMEOUT, Engines

pytestmark = pytest.mark.timeout(TIMEOUT)
NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
LONG: Final = Scalar(name="long")
PERSON: Final = Object(properties={"name": Property(type=Scalar(name="string"), required=True)})
CELLS: Final[dict[str, tuple[Type, Any]]] = {
    "fixed acidity": (Scalar(name="double"), 7.5),
    "count": (Scalar(name="integer"), 3),
    "label": (Scalar(name="string"), "é"),
    "bytes": (Scalar(name="binary"), b"\x01"),
    "moment": (Scalar(name="datetime"), pd.Timestamp("2024-01-31 12:00:00.000001")),
    "list": (Array(items=Array(items=LONG)), [[1], [2, 3]]),
    "person": (PERSON, {"name": "Ann"}),
    "counts": (Map(values=LONG), {"a": 1}),
}
READ: Final = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
frame = spark.read.option("mergeSchema", "true").parquet(sys.argv[1])
rows = [row.asDict(recursive=True) for row in frame.orderBy("version", "row").collect()]
print(json.dumps([dict(frame.dtypes), rows], default=str))
"""


class Uncounted:
    def captured(self) -> None: ...

    def capture_behind(self) -> None: ...

    def capture_written(self, requests: int) -> None: ...

    def capture_failed(self, requests: int) -> None: ...


def write(directory: Path, version: str, signature: Signature, data: Any, value: Any) -> None:
    model = TableModel(name="wine", version=version, digest=lambda: "sha256:abc", signature=signature)
    rotation = Rotation(rows=10, bytes=1 << 20, seconds=60)
    writer = TableWriter(InferenceTable(model, frozenset()), directory, rotation, Uncounted())
    record = CapturedPrediction(
        request_id="a", protocol="v2", at=NOON, data=data, params=None, rows=len(data), value=value, size=100
    )
    writer.write([record])
    writer.close()


def test_spark_reads_two_versions_beside_each_other(engines: Engines, tmp_path: Path) -> None:
    columns = tuple(Column(name=name, type=kind, required=True) for name, (kind, _) in CELLS.items())
    frame = pd.DataFrame({name: [cell] for name, (_, cell) in CELLS.items()})
    write(tmp_path / "table", "1", Signature(columns=columns), frame, np.array([5.0]))
    tensor = Signature(tensors=(Tensor(name=None, dtype=np.dtype("float32"), shape=(-1, 2)),))
    write(tmp_path / "table", "2", tensor, np.array([[1, 2], [3, 4]], np.float32), np.array([0.5, 0.25]))

    command: list[str | Path] = [engines.python, "-c", READ, tmp_path / "table"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(engines.variables), check=False)
    assert done.returncode == 0, done.stderr
    types, rows = json.loads(done.stdout.splitlines()[-1])

    assert types["time"] == "timestamp"
    assert types["input"] == "array<float>"
    assert [types[f"input_{name}"] for name in CELLS] == [
        "double",
        "int",
        "string",
        "binary",
        "timestamp_ntz",
        "array<array<bigint>>",
        "struct<name:string>",
        "map<string,bigint>",
    ]
    assert [(row["version"], row["row"], row["input"], row["day"]) for row in rows] == [
        ("1", 0, None, "2026-03-04"),
        ("2", 0, [1.0, 2.0], "2026-03-04"),
        ("2", 1, [3.0, 4.0], "2026-03-04"),
    ]
    assert rows[0]["input_fixed acidity"] == 7.5
    assert rows[0]["input_moment"] == "2024-01-31 12:00:00.000001"
    assert (rows[0]["input_person"], rows[0]["input_counts"]) == ({"name": "Ann"}, {"a": 1})
    assert rows[0]["digest"] == "sha256:abc"
    assert types["prediction"] == "double"
