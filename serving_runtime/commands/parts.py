"""A directory of predictions: one part for each file, and a record of the finished parts.

A command that was killed is repeated, and scores the parts that are not in the record.
"""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Final

from model_contract.layout import MLMODEL
from serving_runtime.commands.cli_errors import CommandError, InputFileError
from serving_runtime.commands.part_record import Record, ScoredRows, record_of
from serving_runtime.commands.partitions import partitions_of
from serving_runtime.commands.places import FilePlace, absolute, is_in, replacing, state_of, write_error
from serving_runtime.commands.report import Progress, Summary
from serving_runtime.commands.rows import chunks
from serving_runtime.commands.score_file import Output, load_to_score, naming, score_rows
from serving_runtime.commands.sources import Source, decompressed_name, identity
from serving_runtime.errors import ServingError
from serving_runtime.model import Model
from serving_runtime.tables.read_ahead import read_ahead

SUFFIX_OF: Final = {"csv": ".csv", "json": ".json", "jsonl": ".jsonl", "parquet": ".parquet"}
OUTPUT_OF: Final = {"arrow": "parquet"}  # the form of the part for a file of a form that is not written


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The predictions for `source` go to `path`, and its refused rows to `errors`. `name` is the path as a record."""

    source: Source
    name: str
    path: FilePlace
    form: str
    errors: FilePlace | None

    def kept(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns that the file gets: readers of Parquet take those of directories from there only."""
        if self.form != "parquet":
            return names
        directories = partitions_of(PurePosixPath(self.name).parts[:-1])
        return tuple(name for name in names if name not in directories)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOptions:
    """Options that all parts share. `keep` names the columns of the input that are written with the predictions."""

    model_path: Path
    keep: tuple[str, ...]
    chunk_rows: int

    def digest(self, part: Part) -> str:
        """Return a digest of everything that the part is made from: model, file, columns, form and errors."""
        errors = str(identity(part.errors)) if part.errors else None
        source = [str(identity(part.source.path)), *part.source.state, part.source.form]
        model = (self.model_path / MLMODEL).read_bytes()
        return hashlib.sha256(json.dumps([*source, self.keep, part.form, errors]).encode() + model).hexdigest()


def parts_of(sources: Sequence[Source], directory: FilePlace, form: str | None, errors: FilePlace | None) -> list[Part]:
    """Return a part for each file, of the file's own name and form. Raises InputFileError if two have one path."""
    parts: list[Part] = []
    written: dict[FilePlace, Source] = {}
    for source in sources:
        kind = form or OUTPUT_OF.get(source.form, source.form)
        name = decompressed_name(source.name).with_suffix(SUFFIX_OF[kind])
        path, part_errors = directory / name, errors / f"{name}.jsonl" if errors else None
        for place in (path, part_errors) if part_errors else (path,):
            if place in written:
                raise InputFileError(
                    f"{written[place].path} and {source.path} would both be written to {place}; "
                    "score them into two directories"
                )
            written[place] = source
        for output, content in ((directory, "the predictions"), (errors, "the rows without one")):
            if output and is_in(source.path, output):
                raise InputFileError(f"{source.path} is in {output}, the directory of {content}; name another one")
        parts.append(
            Part(
                source=source,
                name=name.as_posix(),
                path=absolute(path),
                form=kind,
                errors=absolute(part_errors) if part_errors else None,
            )
        )
    return parts


def score_part(model: Model, options: PartOptions, part: Part, done: Callable[[int, int], None]) -> ScoredRows:
    """Write one part, and call `done` with bytes read and rows scored. Raises CommandError."""
    with ExitStack() as stack:
        for path in (part.path, part.errors):
            if isinstance(path, Path):
                _make_directory(path.parent)
        errors = stack.enter_context(replacing(part.errors)) if part.errors else None
        written = stack.enter_context(replacing(part.path))
        keep = part.kept(options.keep)
        output = stack.enter_context(Output(written, part.form, errors, keep=bool(keep)))
        stream = stack.enter_context(part.source.opened())
        rows = read_ahead(
            chunks(
                stream,
                part.source.form,
                model.metadata.signature,
                options.chunk_rows,
                keep,
                part.source.partitions,
            )
        )
        with naming(file := f"{part.source.path}: "):
            return score_rows(model, rows, output, file=file, done=lambda n: done(stream.tell(), n))


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(directory, error) from None


def score_parts(
    options: PartOptions,
    parts: Sequence[Part],
    directory: FilePlace,
    workers: int,
    progress: Callable[[int], AbstractContextManager[Progress]],
) -> Summary:
    """Score the parts that are not finished. `progress` gets their bytes. Raises ServingError, CommandError."""
    began = time.monotonic()
    with record_of(directory) as record:
        digests = {part.path: options.digest(part) for part in parts}
        finished = {part.path: _finished(record, part, digests[part.path]) for part in parts}
        waiting = [part for part in parts if finished[part.path] is None]
        before = sum(filter(None, finished.values()), ScoredRows())
        others = [name for name in record.others({part.name for part in parts}) if state_of(directory / name)]
        read, counts = 0, before
        with progress(sum(part.source.state.size for part in waiting)) as bar:
            results: Iterator[tuple[Part, ScoredRows]] = iter(())
            load_seconds: float | None = 0.0
            if waiting and workers > 1:
                results, load_seconds = _in_processes(options, waiting, min(workers, len(waiting))), None
            elif waiting:
                model = load_to_score(options.model_path)
                results, load_seconds = _in_this_process(model, options, waiting, bar), time.monotonic() - began
            for part, one in results:
                record.add(part.name, digests[part.path], one)
                counts, read = counts + one, read + part.source.state.size
                bar.at(read, counts.rows - before.rows)
    return Summary(
        rows=counts.rows,
        refused=counts.refused,
        seconds=time.monotonic() - began,
        load_seconds=load_seconds,
        parts=len(parts),
        parts_before=len(parts) - len(waiting),
        rows_before=before.rows,
        parts_others=len(others),
    )


def _in_this_process(
    model: Model, options: PartOptions, parts: Sequence[Part], bar: Progress
) -> Iterator[tuple[Part, ScoredRows]]:
    read = rows = 0
    for part in parts:
        counts = score_part(model, options, part, partial(_advance, bar, read, rows))
        yield part, counts
        read, rows = read + part.source.state.size, rows + counts.rows


def _advance(bar: Progress, read_before: int, rows_before: int, read: int, rows: int) -> None:
    bar.at(read_before + read, rows_before + rows)


def _in_processes(options: PartOptions, parts: Sequence[Part], workers: int) -> Iterator[tuple[Part, ScoredRows]]:
    """Yield each part when it is finished by one of several processes that have loaded the model.

    Raises CommandError.
    """
    share = str(max(1, len(os.sched_getaffinity(0)) // workers))
    os.environ.setdefault("OMP_NUM_THREADS", share)  # the libraries of the new processes read it
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_load, initargs=(options,))
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new processes have it until `_load`
        try:
            futures = {pool.submit(_score, part): part for part in parts}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise CommandError("a worker process ended; repeat the command, which keeps the finished parts") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(record: Record, part: Part, digest: str) -> ScoredRows | None:
    """Return the counts of a part that is there and was made from the same; None if it must be scored."""
    counts = record.finished(part.name, digest)
    files = (part.path, part.errors) if part.errors else (part.path,)
    return counts if counts and all(map(state_of, files)) else None


_LOADED: list[tuple[Model | CommandError, PartOptions]] = []


def _load(options: PartOptions) -> None:
    """Load the model of a worker process; its first part raises what failed."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, _end_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_the_command, daemon=True).start()
    try:
        _LOADED.append((load_to_score(options.model_path), options))
    except ServingError as error:
        _LOADED.append((CommandError(str(error)), options))


def _end_with_the_command() -> None:
    """End this process if the command is killed: it would hold its part's file, and then wait without end."""
    if (command := parent_process()) is not None:
        command.join()
        os._exit(1)


def _end_at_once(*_: object) -> None:
    """End this process without the traceback of Ctrl-C, and without a further part."""
    os._exit(128 + signal.SIGINT)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT end the block first, which removes the file that it writes, and then this process."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        _end_at_once()
    finally:
        signal.signal(signal.SIGINT, before)


def _score(part: Part) -> ScoredRows:
    model, options = _LOADED[0]
    if isinstance(model, CommandError):
        raise model
    try:
        with _interruptible():
            return score_part(model, options, part, lambda _, __: None)
    except ServingError as error:
        raise CommandError(str(error)) from None
