"""`serve`: the server, from its settings to its end."""

import argparse
import os
from typing import Final, NoReturn

from serving_runtime.process.cpus import threads_for_each, usable_cpus
from serving_runtime.settings import OPTIONS, read_settings

THREADS: Final = "OMP_NUM_THREADS"


def arguments(parser: argparse.ArgumentParser) -> None:
    for option in OPTIONS:
        parser.add_argument(
            option.option,
            metavar=option.metavar,
            help=f"{option.meaning} (default: {option.variable}, or {option.default_text})",
        )


def run(options: argparse.Namespace) -> NoReturn:
    """Raises SystemExit, ServingError, ContractError."""
    cpus = usable_cpus()
    settings = read_settings(vars(options), os.environ, cpus=cpus)
    # Read once, by the libraries that the model is loaded with.
    os.environ.setdefault(THREADS, str(threads_for_each(cpus, settings.workers)))
    from serving_runtime.process.serve import serve  # noqa: PLC0415  --help and a wrong setting need none of it

    serve(settings, os.environ)
