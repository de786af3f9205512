"""The arguments of `predict`, and how each is read."""

import argparse
from collections.abc import Callable
from typing import Final

from serving_runtime.commands import engine
from serving_runtime.commands.partitions import Condition
from serving_runtime.commands.report import FORMATS

STDIN: Final = "-"
INPUTS: Final = ("csv", "parquet", "arrow", "json", "jsonl")
OUTPUTS: Final = ("csv", "json", "jsonl", "parquet")
ROWS: Final = 50_000  # of a chunk: some megabytes, and long enough that the model's own loops count
MOST_ROWS: Final = 1_000_000
MOST_WORKERS: Final = 256


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="*",
        type=_name,
        default=[STDIN],
        help="CSV, Parquet, Arrow, JSON, JSON lines: files, directories, quoted globs; - is standard input (default)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=_output,
        help=(
            "file for the predictions; - is standard output (default); a directory, or a name that ends with /, gets"
            " a part for each file"
        ),
    )
    parser.add_argument(
        "--model",
        metavar="URI",
        help="a registered model instead of --model-path, fetched by model-api-delivery: models:/name@alias,"
        " models:/name/3, or runs:/run_id/path",
    )
    parser.add_argument(
        "--model-store", metavar="DIRECTORY", help="directory that keeps models of --model (default: the user's cache)"
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        type=_condition,
        action="append",
        default=[],
        help="score only files of such partitions, such as 'day>=2024-01-31' for directories named day=...; with"
        " several, those that meet all",
    )
    parser.add_argument("--input-format", choices=INPUTS, help="default: by the file's suffix, or csv")
    parser.add_argument(
        "--output-format",
        choices=OUTPUTS,
        help="default: by the output's suffix, or csv; in a directory, that of each file",
    )
    parser.add_argument(
        "--keep-columns",
        metavar="NAMES",
        type=_names,
        default=(),
        help="columns of the input, with commas between them, that are written before the predictions",
    )
    parser.add_argument(
        "--errors",
        metavar="FILE",
        type=_name,
        help=(
            "write rows that cannot be scored here, as JSON lines, and go on; without it the first one ends the"
            " command; a directory if the output is one"
        ),
    )
    parser.add_argument(
        "--chunk-rows",
        metavar="N",
        type=_count(MOST_ROWS),
        default=ROWS,
        help=f"rows that are scored at a time (default: {ROWS})",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_count(MOST_WORKERS),
        default=1,
        help="processes that score files at the same time, each with a model of its own (default: 1)",
    )
    parser.add_argument(
        "--summary", choices=FORMATS, default="text", help="form of the last line, on standard error (default: text)"
    )
    engine.arguments(parser)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a file or a directory")
    return text


def _output(text: str) -> str | None:
    return None if text == STDIN else _name(text)


def _condition(text: str) -> Condition:
    try:
        return Condition.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError("it must be a name, one of = != < <= > >=, and a value") from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError("it must be names with commas between them, each once")
    return names


def _count(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"it must be a whole number from 1 to {most}")
        return int(text)

    return count
