"""`serve`: reads the settings and runs the server until it ends."""

import argparse
import os
from typing import NoReturn

from serving_runtime.commands import lazy
from serving_runtime.process.cpus import THREADS, threads_for_each, usable_cpus
from serving_runtime.settings import OPTIONS, read_settings


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

    lazy.serve(settings, os.environ)
