"""A model as a function of Spark's columns.

    from serving_runtime.spark import predict_udf

    predict = predict_udf(spark, "model")
    table.withColumn("prediction", predict(struct(*table.columns)))

Spark calls it with Arrow's columns, and repeats what an executor loses.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from model_contract.extras import extra_of_import
from serving_runtime.errors import ServingError

with extra_of_import("spark"):
    import pyarrow as pa
    from pyspark import SparkContext, SparkFiles, TaskContext
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import arrow_udf
    from pyspark.sql.pandas.types import from_arrow_schema

    from serving_runtime.location import find_model
    from serving_runtime.mlmodel import read_metadata
    from serving_runtime.model import load
    from serving_runtime.prediction.model_archive import digest, pack
    from serving_runtime.prediction.record_batches import BatchScorer, RefusedRowError, with_problem
    from serving_runtime.prediction.result_type import result_columns


class PartitionRowError(ServingError):
    """A row that cannot be scored, with its place: both numbers count from 0."""

    def __init__(self, partition: int, row: int, problem: str) -> None:
        super().__init__(f"row {row} of partition {partition}: {problem}")


def predict_udf(
    session: SparkSession, model_path: str | Path, *, result_type: str | None = None, problems: bool = False
) -> Any:
    """Return a function of one struct column. The fields of the struct are the model's columns.

    It returns the prediction; a struct of predictions if the model predicts several columns. `result_type` is needed
    if the signature does not name the outputs: `double`, or `label string, score double`. A row that cannot be scored
    ends the job; with `problems`, the result is a struct in which such a row has null, and the reason in `problem`.
    The model is brought to each executor once, and loaded once by each of its Python processes. Raises ServingError.
    """
    directory = find_model(Path(model_path))
    columns = result_columns(read_metadata(directory).signature, result_type)
    results = with_problem(columns) if problems else columns
    archive = _deliver(session.sparkContext, directory)

    def predict(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        scorer = _scorer(archive, columns, problems)
        rows = 0
        for structs in batches:
            try:
                scored = scorer(pa.RecordBatch.from_struct_array(structs))
            except RefusedRowError as error:
                raise PartitionRowError(_partition(), rows + error.row, error.problem) from None
            rows += len(structs)
            yield scored.column(0) if len(results) == 1 else scored.to_struct_array()

    result = from_arrow_schema(results)
    return arrow_udf(predict, returnType=result[0].dataType if len(results) == 1 else result)


def _deliver(context: SparkContext, directory: Path) -> str:
    """Have each executor unpack the model's files once; return their place below the directory of Spark's files."""
    name = f"model-{digest(directory)}"
    target = Path(_archives()) / f"{name}.tar"
    if not target.exists():
        with target.open("wb") as stream:
            pack(directory, stream)
    if not any(added.endswith(f"#{name}") for added in context.listArchives):
        context.addArchive(f"{target}#{name}")
    return name


@cache
def _archives() -> str:
    """Return a directory of archives, from which Spark's driver sends them until this process ends."""
    directory = tempfile.mkdtemp(prefix="model-api-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@cache
def _scorer(archive: str, columns: pa.Schema, problems: bool) -> BatchScorer:
    return BatchScorer(model=load(Path(SparkFiles.get(archive))), schema=columns, problems=problems)


def _partition() -> int:
    task = TaskContext.get()
    return task.partitionId() if task else 0
