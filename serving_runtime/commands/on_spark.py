"""`predict --engine spark`: the session, the table and the output of Spark."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as sql
from pyspark.sql.types import StringType

from serving_runtime.commands.cli_errors import CommandError, InputFileError, UnavailableError
from serving_runtime.commands.engine import EngineTask, engine_error, existing_output
from serving_runtime.commands.part_record import ScoredRows
from serving_runtime.commands.partitions import partitions_of
from serving_runtime.mlmodel import read_metadata
from serving_runtime.prediction.record_batches import PROBLEM, with_problem
from serving_runtime.prediction.result_type import result_columns
from serving_runtime.signature import Scalar, Signature
from serving_runtime.spark import PartitionRowError, predict_udf

ROWS_OF_BATCH: Final = "spark.sql.execution.arrow.maxRecordsPerBatch"
GUESS_TYPES: Final = "spark.sql.sources.partitionColumnTypeInference.enabled"
SCORED: Final = "__scored"
REFUSED: Final = re.compile(rf"{PartitionRowError.__name__}: row (\d+) of partition (\d+): (.+)")
UNMERGED: Final = "CANNOT_MERGE_SCHEMAS"
EXISTS: Final = "PATH_ALREADY_EXISTS"
PARTITIONS: Final = re.compile(r"(^|/)[^/=]+=.*")  # the directories of partitions in a path
# Spark's types for texts of directories that the model takes as another type.
TYPES: Final = {"boolean": "boolean", "integer": "int", "long": "bigint", "float": "float", "double": "double"}
PARTITION_BITS: Final = 33  # of monotonically_increasing_id: below them is the row within the partition


def score_on_spark(task: EngineTask) -> ScoredRows:
    """Score the rows on Spark. Its committer puts the files of finished tasks in place when all have finished.

    Raises ServingError, CommandError.
    """
    builder = SparkSession.builder.appName("model-api-runtime predict")
    try:
        session = (builder.master(task.address) if task.address else builder).getOrCreate()
    except (PySparkException, Py4JJavaError) as error:
        raise UnavailableError(f"Spark does not start: {engine_error(str(error))}") from None
    try:
        session.conf.set(ROWS_OF_BATCH, task.rows)
        session.conf.set(GUESS_TYPES, False)  # 007 of a directory stays
        return _score(session, task)
    except (PySparkException, Py4JJavaError) as error:
        raise engine_error(str(error)) from None
    finally:
        session.stop()


def _score(session: SparkSession, task: EngineTask) -> ScoredRows:
    table = _read(session, task)
    predict = predict_udf(session, task.model_path, result_type=task.result_type, problems=task.problems)
    observed = Observation()
    refused = sql.count(sql.col(PROBLEM)) if task.problems else sql.lit(0)
    scored = _scored(table, task, predict).observe(
        observed, sql.count(sql.lit(1)).alias("rows"), refused.alias("refused")
    )
    try:
        scored.write.mode("errorifexists").parquet(task.output)
    except (PySparkException, Py4JJavaError) as error:
        raise existing_output(task) if EXISTS in str(error) else _explained(table, str(error)) from None
    return ScoredRows(rows=observed.get["rows"], refused=observed.get["refused"])


def _read(session: SparkSession, task: EngineTask) -> DataFrame:
    """Return the rows of all files. Raises InputFileError, before a row is scored, if their types differ."""
    reader = session.read.options(**_base_path(task.sources))
    try:
        return reader.option("mergeSchema", True).parquet(*task.sources)
    except (PySparkException, Py4JJavaError) as error:
        if UNMERGED not in str(error):
            raise
    table = session.read.options(**_base_path(task.sources)).parquet(*task.sources)
    kinds = {field.name: field.dataType for field in table.schema}
    for file in table.inputFiles():
        for field in session.read.parquet(file).schema:
            if (kind := kinds.get(field.name, field.dataType)) != field.dataType:
                types = f"{field.dataType.simpleString()}, and {kind.simpleString()} in others"
                raise InputFileError(f'{file}: the column "{field.name}" is {types}')
    raise InputFileError("the files have columns of one name and different types; write them with one type")


def _base_path(sources: Sequence[str]) -> Mapping[str, str]:
    """Return Spark's option for the directory above the named partitions, which else would be no columns."""
    bases = {PARTITIONS.sub("", source) or "." for source in sources}
    return {"basePath": bases.pop()} if len(bases) == 1 and any(map(PARTITIONS.search, sources)) else {}


def _scored(table: DataFrame, task: EngineTask, predict: "sql.UserDefinedFunctionLike") -> DataFrame:
    """Return the columns to keep, and the columns of the predictions."""
    signature = read_metadata(task.model_path).signature
    names = result_columns(signature, task.result_type)
    results = (with_problem(names) if task.problems else names).names
    for name in task.keep:
        if name not in table.columns:
            raise InputFileError(f'the rows have no column "{name}", which --keep-columns names')
        if name in results:
            raise InputFileError(f'the model predicts a column "{name}" too; leave it out of --keep-columns')
    known = {str(column.name) for column in signature.columns}
    wanted = [name for name in table.columns if not signature.named or name in known]
    kept = [_column(name) for name in task.keep]
    scored = table.select(*kept, predict(sql.struct(*_inputs(table, signature, wanted))).alias(SCORED))
    if len(results) == 1:
        return scored.withColumnRenamed(SCORED, results[0])
    return scored.select(*kept, f"{SCORED}.*")


def _inputs(table: DataFrame, signature: Signature, names: Sequence[str]) -> list[Column]:
    """Return the columns for the model, those of directories as the type that it takes."""
    taken = {str(column.name): column.type for column in signature.columns if signature.named}
    types = {
        name: TYPES[kind.name]
        for name in names
        if isinstance(kind := taken.get(name), Scalar)
        and kind.name in TYPES
        and isinstance(table.schema[name].dataType, StringType)
    }
    files = table.inputFiles() if types else []
    of_directories = partitions_of(PurePosixPath(files[0]).parts[:-1]) if files else {}
    return [
        _column(name).cast(types[name]).alias(name) if name in types and name in of_directories else _column(name)
        for name in names
    ]


def _column(name: str) -> Column:
    escaped = name.replace("`", "``")
    return sql.col(f"`{escaped}`")


def _explained(table: DataFrame, text: str) -> CommandError:
    """Return the error with the file and the row of a row that cannot be scored."""
    found = REFUSED.search(text)
    if found is None:
        return engine_error(text)
    row, partition, problem = int(found[1]), int(found[2]), found[3]
    with suppress(PySparkException, Py4JJavaError):
        places = table.select(
            sql.col("_metadata.file_path"),
            sql.col("_metadata.row_index"),
            sql.monotonically_increasing_id().alias("place"),
        )
        if place := places.where(sql.col("place") == (partition << PARTITION_BITS) + row).first():
            return InputFileError(f"{place.file_path}: row {place.row_index + 1}: {problem}")
    return InputFileError(f"row {row + 1} of Spark's partition {partition}: {problem}")
