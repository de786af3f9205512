"""A second start of the same command in the same process, after a load that left what no fork has whole."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

EACH_LOADS: Final = "_MODEL_API_RUNTIME_EACH_WORKER_LOADS"  # 1 after the second start: the supervisor loads nothing


class UnsafeForkError(Exception):
    """The process has loaded a package, or has begun a thread, that does not work in a process forked from it."""


def each_worker_loads(environ: Mapping[str, str]) -> bool:
    return environ.get(EACH_LOADS) == "1"


def start_again(environ: Mapping[str, str], directory: Path) -> NoReturn:
    """Replace the program by a new run of it, in which each worker loads the model. Descriptors are closed.

    `directory` is that of the first run: the model's code may have changed it, and arguments may be relative to it.
    """
    sys.stdout.flush()
    os.chdir(directory)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environ, EACH_LOADS: "1"})  # noqa: S606  itself
