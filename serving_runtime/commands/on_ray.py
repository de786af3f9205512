"""`predict --engine ray`: the cluster, the dataset and the output of Ray."""

import os
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import ray
from pyarrow import parquet
from pyarrow.fs import FileSystem
from ray.data import DataContext, Dataset, SaveMode
from ray.data.expressions import col
from ray.exceptions import RayError

from serving_runtime.codec.delimited import read_cell
from serving_runtime.commands.cli_errors import CommandError, InputFileError, MissingFileError, UnavailableError
from serving_runtime.commands.engine import EngineTask, engine_error, existing_output
from serving_runtime.commands.part_record import ScoredRows
from serving_runtime.commands.partitions import NULL
from serving_runtime.commands.places import reason
from serving_runtime.errors import ServingError
from serving_runtime.mlmodel import read_metadata
from serving_runtime.prediction.record_batches import PROBLEM, RefusedRowError, with_problem
from serving_runtime.prediction.result_type import result_columns
from serving_runtime.ray_data import score_dataset
from serving_runtime.signature import Scalar, Type
from serving_runtime.tables.arrow_tables import types_of

FAILURES: Final = (RayError, pa.ArrowException, OSError, ValueError)
CONNECT_SECONDS: Final = 10
EXISTS: Final = re.compile(r"Path \S+ already exists")
# Arrow's types for texts of directories that the model takes as another type.
TYPES: Final = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
}
FILE: Final = "path"  # Ray's column of the file that a row comes from
# Without it, Arrow reads a time of INT96 beyond the nanoseconds of 64 bits as one of another century.
INT96: Final = {"coerce_int96_timestamp_unit": "us"}
FAR_TIME: Final = "would result in out of bounds timestamp"
FILE_OF_ERROR: Final = re.compile(r"Failed to read fragment (\S+) after")


def score_on_ray(task: EngineTask) -> ScoredRows:
    """Score the rows on Ray, which repeats the work of an actor that is lost. Raises ServingError, CommandError."""
    _connect(task)
    try:
        rows = _read(task)
        scored = _scored(task, rows, task.keep, problems=task.problems)
        scored.write_parquet(_absolute(task.output), mode=SaveMode.ERROR)
        return _counts(task)
    except FileNotFoundError as error:
        raise MissingFileError(str(engine_error(str(error)))) from None
    except FAILURES as error:
        raise existing_output(task) if EXISTS.search(str(error)) else _explained(task, str(error)) from None
    finally:
        ray.shutdown()


def _connect(task: EngineTask) -> None:
    """Connect to a cluster, or start one on this machine with a processor for each actor and one that reads."""
    if address := task.address or os.environ.get("RAY_ADDRESS"):
        _expect_server(address)
        try:
            ray.init(address=task.address)
        except (ConnectionError, ValueError) as error:
            raise UnavailableError(f"the cluster of Ray does not answer: {engine_error(str(error))}") from None
    else:
        ray.init(num_cpus=max(len(os.sched_getaffinity(0)), task.workers + 1), include_dashboard=False)


def _expect_server(address: str) -> None:
    """Raise UnavailableError if no server is at host and port of an address: Ray itself tries for 15 minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():  # "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UnavailableError(f"the cluster of Ray does not answer at {address}: {reason(error)}") from None


def _read(task: EngineTask, *, include_paths: bool = False) -> Dataset:
    """Return the rows, with the columns of their directories; of the others only those that are needed."""
    sources = [_absolute(source) for source in task.sources]
    signature = read_metadata(task.model_path).signature
    rows = ray.data.read_parquet(sources, include_paths=include_paths, dataset_kwargs=INT96)
    known = signature.names | {*task.keep, FILE}
    needed = [name for name in rows.schema().names if name in known]
    if signature.named and needed and not any("." in name for name in needed):  # Arrow's way to a field of an object
        rows = rows.select_columns(needed)
    of_files = {*ray.data.read_parquet(sources, partitioning=None).schema().names, FILE}
    names = [name for name in rows.schema().names if name not in of_files]
    if not names:
        return rows
    kinds = types_of(names, signature)
    return rows.map_batches(_with_partitions, fn_kwargs={"kinds": kinds}, batch_format="pyarrow", batch_size=None)


def _with_partitions(table: pa.Table, kinds: Mapping[str, Type | None]) -> pa.Table:
    """Return the table with the texts of its directories as values of the model's types, and null as null."""
    for name, kind in kinds.items():
        coded = table[name].combine_chunks().dictionary_encode()
        texts = [None if text == NULL else text for text in coded.dictionary.to_pylist()]
        values = _values(texts, kind).take(coded.indices)
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def _values(texts: Sequence[str | None], kind: Type | None) -> pa.Array:
    """Return the values of texts; the texts if one is none of the type, which the checks refuse."""
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError):
        if isinstance(kind, Scalar) and kind.name in TYPES:
            return pa.array([None if text is None else read_cell(text, kind) for text in texts], TYPES[kind.name])
    return pa.array(texts, pa.string())


def _scored(task: EngineTask, rows: Dataset, keep: Sequence[str], *, problems: bool) -> Dataset:
    return score_dataset(
        rows,
        task.model_path,
        keep=keep,
        actors=task.workers,
        rows=task.rows,
        result_type=task.result_type,
        problems=problems,
    )


def _counts(task: EngineTask) -> ScoredRows:
    """Return the counts of the output. Ray writes nothing for a table without rows: it gets a file without rows."""
    try:
        written = ray.data.read_parquet(_absolute(task.output))
    except FileNotFoundError:
        _write_empty(task)
        return ScoredRows(rows=0, refused=0)
    refused = written.filter(expr=col(PROBLEM).is_not_null()).count() if task.problems else 0
    return ScoredRows(rows=written.count(), refused=refused)


def _write_empty(task: EngineTask) -> None:
    columns = result_columns(read_metadata(task.model_path).signature, task.result_type)
    schema = with_problem(columns) if task.problems else columns
    rows = _read(task).schema()
    for place, name in enumerate(task.keep):
        schema = schema.insert(place, pa.field(name, rows.types[rows.names.index(name)]))
    filesystem, path = FileSystem.from_uri(_absolute(task.output))
    filesystem.create_dir(path)
    parquet.write_table(schema.empty_table(), f"{path}/empty.parquet", filesystem=filesystem)


def _explained(task: EngineTask, text: str) -> CommandError:
    """Return the error; for a row that cannot be scored, with its file and row."""
    if RefusedRowError.__name__ in text:
        ray.shutdown()  # actors of the failed work would keep their processors
        _connect(task)
        with suppress(ServingError, LookupError, *FAILURES):
            return InputFileError(_first_refused(task))
    if FAR_TIME in text:
        file = FILE_OF_ERROR.search(text)
        return InputFileError(
            f"{file[1] if file else 'a file'}: a time of INT96 is beyond the year 2262, and Ray has its nanoseconds:"
            " score the file by the command alone or on Spark, or write it with another type of time"
        )
    return engine_error(text)


def _first_refused(task: EngineTask) -> str:
    """Score the rows once more, in their order, up to the first that cannot be scored. Raises LookupError."""
    DataContext.get_current().execution_options.preserve_order = True
    rows = _read(task, include_paths=True)
    before = Counter[str]()
    for batch in _scored(task, rows, [FILE], problems=True).iter_batches(batch_size=None, batch_format="pyarrow"):
        place = pc.index(pc.is_valid(batch[PROBLEM]), True).as_py()
        before.update(batch[FILE].slice(0, batch.num_rows if place < 0 else place + 1).to_pylist())
        if place >= 0:
            file = batch[FILE][place].as_py()
            return f"{file}: row {before[file]}: {batch[PROBLEM][place].as_py()}"
    raise LookupError("each row can be scored now")


def _absolute(path: str) -> str:
    """Return the path for processes with another working directory than this one."""
    return path if "://" in path else str(Path(path).resolve())
