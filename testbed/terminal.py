"""A program at a terminal, which shows a person more than it writes to a file."""

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from testbed.forks import ForkServer, server_for
from testbed.processes import PATIENCE


def run_at_terminal(
    command: Sequence[str | Path], environment: Mapping[str, str], *, imported: Sequence[str] = ()
) -> tuple[int, str]:
    """Run a program whose standard error is a terminal; return its exit code and what the terminal was sent.

    A program in Python may be a fork of a process that has `imported` modules of it.
    """
    main, terminal = pty.openpty()
    environment = {**environment, "TERM": "xterm", "COLUMNS": "120"}
    if imported:
        return _run_fork(server_for(command, imported), command, environment, main, terminal)
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=terminal) as process:
        os.close(terminal)
        shown = _read_all(main)
    return process.returncode, shown


def _run_fork(
    server: ForkServer, command: Sequence[str | Path], environment: Mapping[str, str], main: int, terminal: int
) -> tuple[int, str]:
    with ThreadPoolExecutor(1) as reader:
        shown = reader.submit(_read_all, main)
        try:
            errors = Path(os.ttyname(terminal))
            code = server.start(command, env=environment, output=Path(os.devnull), errors=errors).wait(PATIENCE)
        finally:
            os.close(terminal)  # the reader ends
        return code, shown.result()


def _read_all(descriptor: int) -> str:
    content = b""
    with os.fdopen(descriptor, "rb", buffering=0) as stream, suppress(OSError):  # the other end is closed
        while piece := stream.read(1 << 16):
            content += piece
    return content.decode()
