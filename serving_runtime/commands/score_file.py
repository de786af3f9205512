"""The rows of one file through the model into one writer."""

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.kept_columns import KeepingWriter
from serving_runtime.commands.part_record import ScoredRows
from serving_runtime.commands.score import Scored, score, score_columns
from serving_runtime.commands.writers import WRITERS
from serving_runtime.mlmodel import Metadata
from serving_runtime.model import Model, load


class Output:
    """A writer of predictions, with the columns of the input that stand beside them.

    Rows that cannot be scored go to `errors`, if there is such a file. A `with` block ends the file.
    """

    def __init__(self, stream: IO[bytes], form: str, errors: IO[bytes] | None, *, keep: bool) -> None:
        self.errors = errors
        self._writer = WRITERS[form](stream)
        self._keeping = KeepingWriter(self._writer, typed=form == "parquet") if keep else None

    def write(self, chunk: Chunk, predictions: list[Any]) -> None:
        if self._keeping is None:
            self._writer.write(predictions)
        else:
            self._keeping.write(chunk.kept or {}, predictions)

    def write_columns(self, chunk: Chunk, predictions: Any) -> None:
        if self._keeping is None:
            self._writer.write_columns(predictions)
        else:
            self._keeping.write_columns(chunk.kept or {}, predictions)

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            (self._keeping or self._writer).close()
        else:
            self._writer.abandon()


def load_to_score(path: Path, metadata: Metadata | None = None) -> Model:
    """Load a model, and keep Python's garbage collector from what is loaded. Raises ModelLoadError.

    It would walk through all objects of the imported libraries, again and again.
    """
    gc.disable()
    try:
        return load(path, metadata=metadata)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Begin the message of an InputFileError with `file`, which is a path and a colon, unless it does so already."""
    try:
        yield
    except InputFileError as error:
        if str(error).startswith(file):
            raise
        raise InputFileError(f"{file}{error}") from None


def score_rows(
    model: Model, chunks: Iterable[Chunk], output: Output, *, file: str, done: Callable[[int], None]
) -> ScoredRows:
    """Write a prediction for each row, and call `done` with the count of rows after each chunk.

    `file` begins the place of a row that cannot be scored. Raises InputFileError for such a row if the output has no
    file of errors.
    """
    counts = ScoredRows()
    for chunk in chunks:
        predictions = score_columns(model, chunk)
        match predictions:
            case None:
                counts += _score_one_by_one(model, chunk, output, file)
            case list():
                output.write(chunk, predictions)
                counts += ScoredRows(rows=chunk.count)
            case _:
                output.write_columns(chunk, predictions)
                counts += ScoredRows(rows=chunk.count)
        done(counts.rows)
    return counts


def _score_one_by_one(model: Model, chunk: Chunk, output: Output, file: str) -> ScoredRows:
    results: list[Any] = []
    refused = 0
    for result in score(model, chunk):
        if isinstance(result, Scored):
            results.append(result.prediction)
            continue
        if output.errors is None:
            output.write(chunk, results)
            raise InputFileError(f"{file}{result}")
        output.errors.write(json.dumps({"place": f"{file}{result.place}", "problem": result.problem}).encode() + b"\n")
        results.append(None)
        refused += 1
    output.write(chunk, results)
    return ScoredRows(rows=len(results), refused=refused)
