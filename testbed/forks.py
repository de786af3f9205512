"""This project's programs in forks of processes that have imported their modules, for tests that start many of them.

A program is the same as in a process of its own, but for the moment at which it imports, and for what the kernel shows
of it: `/proc` has the command and the environment of the process that it is a fork of.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import inf
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
POLL: Final = 0.005  # seconds


@dataclass(slots=True, kw_only=True)
class Forked:
    """A program, with what tests use of `subprocess.Popen`. `end` is the file that gets the exit code."""

    args: Sequence[str]
    pid: int
    end: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self.end.exists():
            self.returncode = int(self.end.read_text())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal. Raise subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (inf if timeout is None else timeout)
        if self.poll() is None:
            self._sleep_until_end(timeout)
        while (code := self.poll()) is None:  # the server writes it when the process has ended
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(POLL)
        return code

    def _sleep_until_end(self, timeout: float | None) -> None:
        with suppress(ProcessLookupError):
            process = os.pidfd_open(self.pid)
            with selectors.DefaultSelector() as selector:
                selector.register(process, selectors.EVENT_READ)
                selector.select(timeout)
            os.close(process)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """A process that has imported modules, and runs programs in forks of itself."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], python: str = sys.executable) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="forks-"))
        self._numbers = count()
        self._lock = threading.Lock()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "testbed.fork_server", self._directory, *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Native libraries would start threads, which a fork does not have.
                env={**environment, "OMP_NUM_THREADS": "1"},
                cwd=ROOT,
                start_new_session=True,
            )

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def start(  # noqa: PLR0913  what a process has
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        output: Path,
        errors: Path,
        cwd: Path | None = None,
        given: str | Path = os.devnull,
    ) -> Forked:
        """Start a program in Python, with the arguments of a process. Raise RuntimeError if the server has ended."""
        end, named = str(next(self._numbers)), [str(argument) for argument in arguments]
        order = {
            "arguments": named,
            "environment": dict(env),
            "directory": str(cwd or Path.cwd()),
            "input": str(given),
            "output": str(output.absolute()),
            "errors": str(errors.absolute()),
            "end": end,
        }
        with self._lock:
            answer = self._answer(json.dumps(order).encode() + b"\n")
        if not answer:
            raise RuntimeError(f"the fork server has ended:\n{self._log.read_text()}")
        return Forked(args=named, pid=int(answer), end=self._directory / end)

    def _answer(self, line: bytes) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101  for the types
        with suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the process. Programs that still run go on."""
        self._process.communicate()


@cache
def fork_server(python: str, *modules: str) -> ForkServer:
    """Return the process of an interpreter that has imported these modules. It runs until the tests have ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON"))}
    server = ForkServer(modules, kept | {"MLFLOW_DISABLE_TELEMETRY": "true"}, python)
    atexit.register(server.close)
    return server


def server_for(arguments: Sequence[str | Path], modules: Sequence[str]) -> ForkServer:
    """Return the process that has imported these modules, of the interpreter of the arguments or of this one."""
    python = str(arguments[0]) if Path(arguments[0]).name.startswith("python") else sys.executable
    return fork_server(python, *modules)
