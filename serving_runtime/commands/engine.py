"""`predict --engine`: Parquet files scored by Spark or Ray, which read, distribute, repeat and write."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving_runtime.commands.cli_errors import CommandError, InputFileError, MissingFileError
from serving_runtime.commands.sources import check_directories

ENGINES: Final = ("spark", "ray")  # which are the names of the extras too
STDIN: Final = "-"
# A line of a traceback that a process of the engine has sent, if one of our errors ended it.
OUR_ERROR: Final = re.compile(r"serving_runtime\.[\w.]+Error: (.+)")
# Spark's name of an error, and its first line.
SPARK_ERROR: Final = re.compile(r"(\[([A-Z][A-Z0-9_.]+)\] .+)")
# Errors of Spark that the command's arguments or files cause.
OF_INPUT: Final = {"PATH_NOT_FOUND": MissingFileError, "CAST_INVALID_INPUT": InputFileError}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTask:
    """Work for an engine. `address` is Spark's master or a cluster of Ray; None for that of the environment."""

    model_path: Path
    sources: Sequence[str]
    output: str
    keep: Sequence[str]
    rows: int
    workers: int
    address: str | None
    result_type: str | None
    problems: bool


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="score files of Parquet on Spark or Ray, which write the predictions as Parquet into a new directory",
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of the engine: Spark's master, or a cluster of Ray (default: that of the environment, or this machine)",
    )
    parser.add_argument(
        "--result-type",
        metavar="TYPES",
        help=(
            'types of the predictions on an engine, such as "double" or "label string, score double" (default: those'
            " of the signature)"
        ),
    )
    parser.add_argument(
        "--problem-column",
        action="store_true",
        help=(
            "on an engine: write the reason for each row that cannot be scored into a column named problem, and go on;"
            " without it the first one ends the command"
        ),
    )


def refuse_engine_options(options: argparse.Namespace) -> None:
    """Raise InputFileError for an option that only an engine has."""
    given = {
        "--address": options.address,
        "--result-type": options.result_type,
        "--problem-column": options.problem_column,
    }
    if name := next((name for name, value in given.items() if value), None):
        raise InputFileError(f"{name} is for an engine: give --engine spark or --engine ray too")


def task_of(options: argparse.Namespace, model_path: Callable[[], Path]) -> EngineTask:
    """Return the task for options with an engine; `model_path` finds or fetches the model.

    Raises InputFileError, ServingError, ContractError.
    """
    if options.file == [STDIN]:
        raise InputFileError("an engine reads no standard input: name files or directories of Parquet")
    if not options.output:
        raise InputFileError("an engine writes its predictions into a new directory: name it, such as -o predictions/")
    if options.errors:
        raise InputFileError("an engine has no file of errors: give --problem-column, a column of the output")
    if {options.input_format, options.output_format} - {None, "parquet"}:
        raise InputFileError("an engine reads and writes Parquet only")
    if options.where:
        raise InputFileError("--where is not for an engine: name the directories of the partitions")
    if options.engine == "spark" and options.workers > 1:
        raise InputFileError("Spark's own settings say how many processes there are: leave out --workers")
    check_directories(options.file)
    return EngineTask(
        model_path=model_path(),
        sources=options.file,
        output=options.output,
        keep=options.keep_columns,
        rows=options.chunk_rows,
        workers=options.workers,
        address=options.address,
        result_type=options.result_type,
        problems=options.problem_column,
    )


def engine_error(text: str) -> CommandError:
    """Return the command's error for an engine's error. Its text may have an error of this package in a traceback."""
    if ours := OUR_ERROR.findall(text):
        return InputFileError(ours[-1])
    if named := SPARK_ERROR.findall(text):
        sentence, name = named[-1]
        return OF_INPUT.get(name, CommandError)(sentence)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return CommandError(lines[-1] if lines else "the engine failed and gave no reason")


def existing_output(task: EngineTask) -> InputFileError:
    return InputFileError(f"{task.output} exists, and an engine writes into a new directory: name another one")
