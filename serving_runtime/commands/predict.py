"""`predict`: scores the rows of a file with the code that answers requests."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from model_contract.exit_codes import ExitCode
from serving_runtime.commands import lazy
from serving_runtime.commands.cli_errors import InputFileError, MissingFileError
from serving_runtime.location import resolve_model_path

STDIN: Final = "-"
INPUTS: Final = ("csv", "parquet", "json", "jsonl")
OUTPUTS: Final = ("csv", "json", "jsonl", "parquet")
SUFFIXES: Final[Mapping[str, str]] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
ROWS: Final = 50_000  # of a chunk: some megabytes, and long enough that the model's own loops count
MOST_ROWS: Final = 1_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default=STDIN, help="CSV, Parquet, JSON or JSON lines; - is standard input (default)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where the predictions go (default: standard output)")
    parser.add_argument("--input-format", choices=INPUTS, help="default: by the file's suffix, or csv")
    parser.add_argument("--output-format", choices=OUTPUTS, help="default: by the output's suffix, or csv")
    parser.add_argument(
        "--errors",
        metavar="FILE",
        help=(
            "write rows that cannot be scored here, as JSON lines, and go on; without it the first one ends the command"
        ),
    )
    parser.add_argument(
        "--chunk-rows", metavar="N", type=_rows, default=ROWS, help=f"rows that are scored at a time (default: {ROWS})"
    )


def run(options: argparse.Namespace) -> ExitCode:
    """Raises ServingError, ContractError, CommandError."""
    began = time.monotonic()
    source = None if options.file == STDIN else Path(options.file)
    if source is not None and not source.is_file():
        raise MissingFileError(f"there is no file {source}")

    model = lazy.load(resolve_model_path(os.environ))
    form = options.input_format or _format(source, "csv")
    loaded, rows, failed = time.monotonic(), 0, 0
    with ExitStack() as stack:
        errors = stack.enter_context(replacing(Path(options.errors))) if options.errors else None
        output = stack.enter_context(replacing(Path(options.output)) if options.output else _standard_output())
        bar = stack.enter_context(_progress(source.stat().st_size if source else None))
        stream = stack.enter_context(_opened(source))
        writer = lazy.WRITERS[options.output_format or _format(options.output and Path(options.output), "csv")](output)
        for chunk in lazy.read_ahead(lazy.chunks(stream, form, model.metadata.signature, options.chunk_rows)):
            if (predictions := lazy.score_columns(model, chunk)) is not None:
                writer.write_columns(predictions)
                rows += chunk.count
                bar.at(stream.tell() if source else 0, rows)
                continue
            results = []
            for result in lazy.score(model, chunk):
                if isinstance(result, lazy.Scored):
                    results.append(result.prediction)
                    continue
                if errors is None:
                    writer.write(results)
                    raise InputFileError(str(result))
                errors.write(json.dumps({"place": result.place, "problem": result.problem}).encode() + b"\n")
                results.append(None)
                failed += 1
            writer.write(results)
            rows += len(results)
            bar.at(stream.tell() if source else 0, rows)
        writer.close()
    _report(rows, failed, options.errors, seconds=time.monotonic() - began, load=loaded - began)
    return ExitCode.PARTIAL if failed else ExitCode.DONE


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream to a hidden file, which is put in place at `path` if nothing failed. Raises InputFileError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        partial.replace(path)
    except OSError as error:
        raise InputFileError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    yield sys.stdout.buffer


@contextmanager
def _opened(source: Path | None) -> Iterator[IO[bytes]]:
    if source is None:
        yield sys.stdin.buffer
        return
    with source.open("rb") as stream:
        yield stream


class _Progress:
    """Progress that draws nothing."""

    def at(self, position: int, rows: int) -> None:
        """Show the position in the input, in bytes, and the number of rows that are scored."""


@contextmanager
def _progress(size: int | None) -> Iterator[_Progress]:
    """Yield a progress bar at a terminal, and one that draws nothing elsewhere.

    `size` is that of the input in bytes; None if it is not known.
    """
    if not sys.stderr.isatty():
        yield _Progress()
        return

    columns = (
        lazy.progress.TextColumn("{task.description}"),
        lazy.progress.BarColumn(),
        lazy.progress.TaskProgressColumn(),
        lazy.progress.TextColumn("{task.fields[rows]:,} rows"),
        lazy.progress.TimeElapsedColumn(),
    )
    with lazy.progress.Progress(*columns, console=lazy.console.Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=size, rows=0)

        class Drawn(_Progress):
            def at(self, position: int, rows: int) -> None:
                bar.update(task, completed=position, rows=rows)

        yield Drawn()


def _format(path: Path | None, default: str) -> str:
    return SUFFIXES.get(path.suffix.lower(), default) if path else default


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ROWS:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 1 to {MOST_ROWS}")
    return int(text)


def _report(rows: int, failed: int, errors: str | None, *, seconds: float, load: float) -> None:
    """Print the summary on standard error, as predictions may be on standard output. `seconds` include `load`."""
    more = f"; {failed} of them have no prediction, see {errors}" if failed else ""
    print(f"{rows:,} rows in {seconds:.1f} s, {load:.1f} s of it to load the model{more}", file=sys.stderr)
