"""`predict`: scores the rows of files with the code that answers requests."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Final

from model_contract.exit_codes import ExitCode
from model_contract.extras import extra_of_program
from serving_runtime.commands import engine, lazy
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.delivered_model import deliver
from serving_runtime.commands.part_record import ScoredRows
from serving_runtime.commands.places import FilePlace, absolute, is_in, place_of, replacing
from serving_runtime.commands.predict_arguments import STDIN, arguments
from serving_runtime.commands.report import Progress, Summary, print_summary
from serving_runtime.commands.sources import Source, check_outputs, find_sources, output_form
from serving_runtime.commands.standard_streams import expect_other_files, standard_input, standard_output
from serving_runtime.errors import ServingError
from serving_runtime.location import find_model, resolve_model_path

__all__ = ["arguments", "run"]

CSV_AHEAD: Final = 12  # blocks of CSV that are read before they are scored: 96 MiB of text, while the model loads
BLAS_WAIT: Final = ("OPENBLAS_THREAD_TIMEOUT", "20")  # 2**20 ticks that its threads spin after a chunk, not 2**26


def run(options: argparse.Namespace) -> ExitCode:
    """Raises ServingError, ContractError, CommandError."""
    os.environ.setdefault(*BLAS_WAIT)  # numpy reads it when it is imported
    if STDIN in options.file and len(options.file) > 1:
        raise InputFileError("- is standard input, which is scored alone: leave it out, or name it /dev/stdin")
    if options.errors == STDIN:
        raise InputFileError("--errors - would mix rows and predictions: name a file, such as /dev/stderr")
    if options.engine:
        return _ended(_on_engine(options), options)
    engine.refuse_engine_options(options)
    if options.where and options.file == [STDIN]:
        raise InputFileError("--where selects files by their directories, and standard input has none: name files")
    sources = None if options.file == [STDIN] else find_sources(options.file, options.input_format, options.where)
    output = place_of(options.output) if options.output else None
    if output and (options.output.endswith("/") or (isinstance(output, Path) and output.is_dir())):
        summary = _to_directory(options, sources, output)
    elif options.workers > 1:
        raise InputFileError("--workers needs a directory as output, such as -o predictions/: give one")
    else:
        summary = _to_stream(options, sources)
    return _ended(summary, options)


def _ended(summary: Summary, options: argparse.Namespace) -> ExitCode:
    print_summary(summary, options.summary)
    return ExitCode.PARTIAL if summary.refused else ExitCode.DONE


def _on_engine(options: argparse.Namespace) -> Summary:
    """Write the predictions by Spark or Ray."""
    began = time.monotonic()
    task = engine.task_of(options, partial(_model_path, options))
    with extra_of_program(options.engine):
        score = lazy.on_spark.score_on_spark if options.engine == "spark" else lazy.on_ray.score_on_ray
    try:
        counts = score(task)
    except ServingError as error:  # of the model's signature, or of a column that is kept
        raise InputFileError(str(error)) from None
    problems = "the column problem" if task.problems else None
    return Summary(rows=counts.rows, refused=counts.refused, seconds=time.monotonic() - began, errors=problems)


def _to_stream(options: argparse.Namespace, sources: list[Source] | None) -> Summary:
    """Write the predictions for all files in their order."""
    began = time.monotonic()
    check_outputs(filter(None, (options.output, options.errors)), sources or ())
    expect_other_files((options.output, options.errors), sources)
    model_path = _model_path(options)
    metadata = lazy.read_metadata(model_path)
    model, load_seconds = None, 0.0
    form = options.output_format or output_form(options.output or "")
    counts, read_before = ScoredRows(), 0
    with ExitStack() as stack:
        errors = stack.enter_context(replacing(absolute(place_of(options.errors)))) if options.errors else None
        stream = stack.enter_context(
            replacing(absolute(place_of(options.output))) if options.output else standard_output()
        )
        bar = stack.enter_context(_progress(_size(sources) if sources else None))
        output = stack.enter_context(lazy.score_file.Output(stream, form, errors, keep=bool(options.keep_columns)))
        files: list[Source | None] = [None] if sources is None else [*sources]
        for source in files:
            with source.opened() if source else standard_input() as read:
                source_form = source.form if source else options.input_format or "csv"
                rows = lazy.chunks(
                    read,
                    source_form,
                    metadata.signature,
                    options.chunk_rows,
                    options.keep_columns,
                    source.partitions if source else {},
                )
                file = f"{source.path}: " if source and len(files) > 1 else ""
                depth = CSV_AHEAD if source_form == "csv" else 1
                with lazy.score_file.naming(file), lazy.ReadAhead(rows, depth) as ahead:
                    if model is None:  # while the first rows are read
                        model = lazy.score_file.load_to_score(model_path, metadata)
                        load_seconds = model.load_seconds
                    counts += lazy.score_file.score_rows(
                        model,
                        ahead,
                        output,
                        file=file,
                        done=partial(
                            _advance, bar, read if source and read.seekable() else None, read_before, counts.rows
                        ),
                    )
            read_before += source.state.size if source else 0
    return Summary(
        rows=counts.rows,
        refused=counts.refused,
        seconds=time.monotonic() - began,
        load_seconds=load_seconds,
        errors=options.errors,
    )


def _advance(bar: Progress, stream: IO[bytes] | None, read_before: int, rows_before: int, rows: int) -> None:
    bar.at(read_before + (stream.tell() if stream else 0), rows_before + rows)


def _to_directory(options: argparse.Namespace, sources: list[Source] | None, directory: FilePlace) -> Summary:
    """Write a part for each file; parts that are finished stay as they are."""
    if sources is None:
        raise InputFileError("standard input has no files to write parts for: give -o a file, or no -o")
    if pipe := next((one.path for one in sources if isinstance(one.path, Path) and not one.path.is_file()), None):
        raise InputFileError(f"{pipe} is no file, but a pipe or a device: give -o a file, or no -o")
    errors = place_of(options.errors) if options.errors else None
    for written in (directory, errors) if errors else (directory,):
        if any(_is_below(written, place_of(name)) for name in options.file):
            raise InputFileError(f"{written} lies in a directory that is scored; write elsewhere")
    shared = lazy.parts.PartOptions(
        model_path=_model_path(options), keep=options.keep_columns, chunk_rows=options.chunk_rows
    )
    parts = lazy.parts.parts_of(sources, directory, options.output_format, errors)
    summary = lazy.parts.score_parts(shared, parts, directory, options.workers, _progress)
    return replace(summary, errors=options.errors)


def _model_path(options: argparse.Namespace) -> Path:
    if options.model is None:
        return resolve_model_path(os.environ)
    if options.model_path:
        raise InputFileError("--model and --model-path name two models: set one of them")
    return find_model(deliver(options.model, options.model_store, os.environ).absolute())


def _is_below(directory: FilePlace, named: FilePlace) -> bool:
    """Return True if an argument names a directory that the predictions are in."""
    return is_in(directory, named) and (not isinstance(named, Path) or named.is_dir())


@contextmanager
def _progress(size: int | None) -> Iterator[Progress]:
    """Yield a progress bar at a terminal, and one that draws nothing elsewhere.

    `size` is that of the input in bytes; None if it is not known.
    """
    if not sys.stderr.isatty():
        yield Progress()
        return

    columns = (
        lazy.progress.TextColumn("{task.description}"),
        lazy.progress.BarColumn(),
        lazy.progress.TaskProgressColumn(),
        lazy.progress.TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f} a second"),
        lazy.progress.TimeElapsedColumn(),
        lazy.progress.TimeRemainingColumn(),
    )
    with lazy.progress.Progress(*columns, console=lazy.console.Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=size, rows=0, rate=0.0)
        began = time.monotonic()

        class Drawn(Progress):
            def at(self, position: int, rows: int) -> None:
                rate = rows / max(time.monotonic() - began, 0.001)
                bar.update(task, completed=position, rows=rows, rate=rate)

        yield Drawn()


def _size(sources: list[Source]) -> int:
    return sum(source.state.size for source in sources)
