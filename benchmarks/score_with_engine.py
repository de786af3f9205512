"""Score files of Parquet with an engine, and print the seconds of the work, without the engine's start.

`python score_with_engine.py spark|spark-mlflow|ray|ray-by-hand <model> <one row> <rows> <output>`, in an environment
that has both engines.
"""

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import ray
from pyarrow import parquet
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import struct

from serving_runtime.ray_data import ROWS, score_dataset
from serving_runtime.spark import predict_udf

PROCESSORS = 2


def spark(predict: Any, output: str, source: str) -> None:
    rows: DataFrame = SparkSession.builder.getOrCreate().read.parquet(source)
    rows.select(predict(struct(*rows.columns)).alias("prediction")).write.mode("overwrite").parquet(output)


def ray_ours(model: str, output: str, source: str) -> None:
    score_dataset(ray.data.read_parquet(source), model, actors=1).write_parquet(output)


class ByHand:
    """The model as a person would hold it in an actor."""

    def __init__(self, model: str) -> None:
        self._model = mlflow.pyfunc.load_model(model)

    def __call__(self, table: pa.Table) -> pa.Table:
        return pa.table({"prediction": self._model.predict(table.to_pandas())})


def ray_by_hand(model: str, output: str, source: str) -> None:
    rows = ray.data.read_parquet(source)
    scored = rows.map_batches(
        ByHand,
        fn_constructor_args=[model],
        batch_format="pyarrow",
        batch_size=ROWS,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    scored.write_parquet(output)


def scorer(way: str, model: str, output: str) -> Callable[[str], None]:
    """Return the function that scores a source, with its engine started."""
    if not way.startswith("spark"):
        ray.init(num_cpus=PROCESSORS, include_dashboard=False)
        return partial(ray_ours if way == "ray" else ray_by_hand, model, output)
    session = SparkSession.builder.master(f"local[{PROCESSORS}]").getOrCreate()
    if way == "spark":
        return partial(spark, predict_udf(session, model), output)
    theirs = mlflow.pyfunc.spark_udf(session, model, result_type="double", env_manager="local")
    return partial(spark, theirs, output)


def main(way: str, model: str, one: str, source: str, output: str) -> None:
    score = scorer(way, model, output)
    score(one)
    shutil.rmtree(output)
    began = time.perf_counter()
    score(source)
    print(f"seconds {time.perf_counter() - began:.3f}")
    written = sum(parquet.read_metadata(file).num_rows for file in Path(output).glob("*.parquet"))
    print(f"rows {written}")


if __name__ == "__main__":
    main(*sys.argv[1:])
