"""A directory of predictions: one part for each file, and a record of the finished parts.

A command that was killed is repeated, and scores the parts that are not in the record.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any, Final

from model_contract.layout import MLMODEL
from serving_runtime.commands.cli_errors import CommandError, InputFileError
from serving_runtime.commands.report import Progress, Summary
from serving_runtime.commands.rows import chunks
from serving_runtime.commands.score_file import Counts, Output, replacing, score_rows
from serving_runtime.commands.sources import Source
from serving_runtime.errors import ServingError
from serving_runtime.model import Model, load
from serving_runtime.tables.read_ahead import read_ahead

RECORD: Final = "_predict.jsonl"  # readers of data sets skip names that begin with _
SUFFIX_OF: Final = {"csv": ".csv", "json": ".json", "jsonl": ".jsonl", "parquet": ".parquet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The predictions for `source` go to `path`, and its refused rows to `errors`."""

    source: Source
    path: Path
    form: str
    errors: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`keep` names the columns that stand beside the predictions."""

    model_path: Path
    keep: tuple[str, ...]
    chunk_rows: int

    def digest(self, part: Part) -> str:
        """Return a digest of everything that the part is made from: model, file, columns and form."""
        state = part.source.path.stat()
        made_from = [str(part.source.path.resolve()), state.st_size, state.st_mtime_ns, self.keep, part.form]
        model = (self.model_path / MLMODEL).read_bytes()
        return hashlib.sha256(json.dumps([*made_from, part.source.form]).encode() + model).hexdigest()


def parts_of(sources: Sequence[Source], directory: Path, form: str | None, errors: Path | None) -> list[Part]:
    """Return a part for each file, of the file's own name and form. Raises InputFileError if two have one path."""
    parts: dict[Path, Part] = {}
    for source in sources:
        kind = form or source.form
        name = source.name.with_suffix(SUFFIX_OF[kind])
        path = directory / name
        if path in parts:
            raise InputFileError(
                f"{parts[path].source.path} and {source.path} would both be written to {path}; "
                "score them into two directories"
            )
        if source.path.resolve().is_relative_to(directory.resolve()):
            raise InputFileError(f"{source.path} is in {directory}, the directory of the predictions; name another one")
        part_errors = errors / f"{name}.jsonl" if errors else None
        parts[path] = Part(source=source, path=path, form=kind, errors=part_errors)
    return list(parts.values())


class Record:
    """A line for each finished part: its name, the digest of what it was made from, and its counts."""

    def __init__(self, directory: Path, stream: IO[bytes]) -> None:
        self._directory = directory
        self._stream = stream
        self._lines: dict[str, dict[str, Any]] = {}
        stream.seek(0)
        text = stream.read()
        for line in text.splitlines():
            with suppress(ValueError, KeyError):  # a line that was cut by a kill
                entry = json.loads(line)
                self._lines[entry["part"]] = entry
        if text and not text.endswith(b"\n"):
            stream.write(b"\n")

    def finished(self, part: Part, digest: str) -> Counts | None:
        """Return the counts of a part that is there and was made from the same; None if it must be scored."""
        entry = self._lines.get(self._name(part))
        if entry is None or entry.get("digest") != digest or not part.path.is_file():
            return None
        return Counts(rows=entry["rows"], refused=entry["refused"])

    def add(self, part: Part, digest: str, counts: Counts) -> None:
        entry = {"part": self._name(part), "digest": digest, "rows": counts.rows, "refused": counts.refused}
        self._stream.write(json.dumps(entry).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _name(self, part: Part) -> str:
        return part.path.relative_to(self._directory).as_posix()


@contextmanager
def record_of(directory: Path) -> Iterator[Record]:
    """Open the record of a directory, for one process at a time. Raises InputFileError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stream = (directory / RECORD).open("a+b")
    except OSError as error:
        raise InputFileError(f"{directory} cannot be written: {error.strerror or error}") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputFileError(f"another predict writes into {directory}; wait for its end") from None
        yield Record(directory, stream)


def score_part(model: Model, task: Task, part: Part, done: Callable[[int, int], None]) -> Counts:
    """Write one part, and call `done` with bytes read and rows scored. Raises CommandError."""
    with ExitStack() as stack:
        try:
            for path in filter(None, (part.path, part.errors)):
                path.parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(part.source.path.open("rb"))
        except OSError as error:
            raise InputFileError(f"{error.filename}: {error.strerror}") from None
        errors = stack.enter_context(replacing(part.errors)) if part.errors else None
        output = Output(stack.enter_context(replacing(part.path)), part.form, errors, keep=bool(task.keep))
        rows = read_ahead(chunks(stream, part.source.form, model.metadata.signature, task.chunk_rows, task.keep))
        try:
            counts = score_rows(
                model, rows, output, file=f"{part.source.path}: ", done=lambda n: done(stream.tell(), n)
            )
        except InputFileError as error:
            if str(error).startswith(f"{part.source.path}: "):
                raise
            raise InputFileError(f"{part.source.path}: {error}") from None
        output.close()
    return counts


def score_parts(
    task: Task,
    parts: Sequence[Part],
    directory: Path,
    workers: int,
    progress: Callable[[int], AbstractContextManager[Progress]],
) -> Summary:
    """Score the parts that are not finished, whose bytes `progress` gets. Raises ServingError, CommandError."""
    began = time.monotonic()
    with record_of(directory) as record:
        digests = {part.path: task.digest(part) for part in parts}
        finished = {part.path: record.finished(part, digests[part.path]) for part in parts}
        waiting = [part for part in parts if finished[part.path] is None]
        before = sum(filter(None, finished.values()), Counts())
        read, counts = 0, before
        with progress(sum(_size(part) for part in waiting)) as bar:
            results: Iterator[tuple[Part, Counts]] = iter(())
            load_seconds: float | None = 0.0
            if waiting and workers > 1:
                results, load_seconds = _in_processes(task, waiting, min(workers, len(waiting))), None
            elif waiting:
                model = load(task.model_path)
                results, load_seconds = _in_this_process(model, task, waiting, bar), time.monotonic() - began
            for part, one in results:
                record.add(part, digests[part.path], one)
                counts, read = counts + one, read + _size(part)
                bar.at(read, counts.rows - before.rows)
    return Summary(
        rows=counts.rows,
        refused=counts.refused,
        seconds=time.monotonic() - began,
        load_seconds=load_seconds,
        parts=len(parts),
        parts_before=len(parts) - len(waiting),
        rows_before=before.rows,
    )


def _in_this_process(model: Model, task: Task, parts: Sequence[Part], bar: Progress) -> Iterator[tuple[Part, Counts]]:
    read = rows = 0
    for part in parts:
        counts = score_part(model, task, part, partial(_advance, bar, read, rows))
        yield part, counts
        read, rows = read + _size(part), rows + counts.rows


def _advance(bar: Progress, read_before: int, rows_before: int, read: int, rows: int) -> None:
    bar.at(read_before + read, rows_before + rows)


def _in_processes(task: Task, parts: Sequence[Part], workers: int) -> Iterator[tuple[Part, Counts]]:
    """Yield each part when it is finished by one of several processes that have loaded the model.

    Raises CommandError.
    """
    share = str(max(1, len(os.sched_getaffinity(0)) // workers))
    os.environ.setdefault("OMP_NUM_THREADS", share)  # the libraries of the new processes read it
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_load, initargs=(task,))
    try:
        futures = {pool.submit(_score, part): part for part in parts}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise CommandError("a worker process ended; repeat the command, which keeps the finished parts") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _size(part: Part) -> int:
    return part.source.path.stat().st_size


_LOADED: list[tuple[Model | CommandError, Task]] = []


def _load(task: Task) -> None:
    """Load the model of a worker process; its first part raises what failed."""
    try:
        _LOADED.append((load(task.model_path), task))
    except ServingError as error:
        _LOADED.append((CommandError(str(error)), task))


def _score(part: Part) -> Counts:
    model, task = _LOADED[0]
    if isinstance(model, CommandError):
        raise model
    try:
        return score_part(model, task, part, lambda _, __: None)
    except ServingError as error:
        raise CommandError(str(error)) from None
