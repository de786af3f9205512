"""This project's programs in forks of processes that have imported their modules, for tests that start many of them.

A program runs as in a process of its own, with two differences: its imports are done before it starts, and `/proc`
shows the command and the environment of the process that was forked.
"""

import atexit
import hashlib
import json
import os
import selectors
import shlex
import shutil
import signal
import socket
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

from testbed.environments import locked

ROOT: Final = Path(__file__).parents[1]
FORKED_COMMAND: Final = Path(__file__).with_name("forked_command.py")
POLL: Final = 0.005  # seconds
SHARED: Final = "MODEL_API_TEST_FORKS"  # a variable of `testbed.run_tests`


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
        """Return the exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
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
    """A process that has imported modules, and runs programs in forks of itself.

    One that is there already is shared, by all processes of pytest that `testbed.run_tests` has started.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], python: str = sys.executable) -> None:
        content = json.dumps([python, modules, sorted(environment.items())])
        self._directory = root() / hashlib.sha256(content.encode()).hexdigest()[:12]
        self._numbers = count()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        with locked(self._directory):
            if not self._directory.exists():
                self._directory.mkdir()
                self._process = self._started(
                    [python, "-m", "testbed.fork_server", self._directory, *modules], environment
                )
            self._connection.connect(str(self._address))
        self._answers = self._connection.makefile("rb")

    def _started(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        with socket.socket(socket.AF_UNIX) as listener, self._log.open("wb") as log:
            listener.bind(str(self._address))
            listener.listen()
            return subprocess.Popen(
                command,
                stdin=listener.fileno(),
                stdout=log,
                stderr=log,
                # Native libraries would start threads, which a fork does not have.
                env={**environment, "OMP_NUM_THREADS": "1"},
                cwd=ROOT,
                start_new_session=True,
            )

    @property
    def _address(self) -> Path:
        return self._directory / "socket"

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
        """Start a program in Python, with the arguments of a process. Raises RuntimeError if the server has ended."""
        end, named = f"{os.getpid()}-{next(self._numbers)}", [str(argument) for argument in arguments]
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
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(line)
            return self._answers.readline()
        return b""

    def write_command(self, target: Path, program: Path) -> None:
        """Write a command that runs a program as a fork, for a shell that starts it."""
        words = [sys.executable, "-ISs", str(FORKED_COMMAND), str(self._directory), str(program)]
        target.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        target.chmod(0o755)

    def close(self) -> None:
        """End the process if no other uses it. Programs that still run go on."""
        self._connection.shutdown(socket.SHUT_WR)
        self._answers.read()
        self._answers.close()
        self._connection.close()
        if self._process and self._directory.exists():
            self._process.returncode = 0  # others end it; without a code, Python warns that it is still running
        elif self._process:
            self._process.wait()


@cache
def root() -> Path:
    """Return the folder of the fork servers: that of all runs of `make test`, or one of this process."""
    if SHARED in os.environ:
        return Path(os.environ[SHARED])
    own = Path(tempfile.mkdtemp(prefix="forks-"))
    atexit.register(shutil.rmtree, own)
    return own


@cache
def fork_server(python: str, *modules: str) -> ForkServer:
    """Return the process of an interpreter that has imported these modules. It runs until the tests have ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST_", "PYTHON"))}
    server = ForkServer(modules, kept | {"MLFLOW_DISABLE_TELEMETRY": "true"}, python)
    atexit.register(server.close)
    return server


def server_for(arguments: Sequence[str | Path], modules: Sequence[str]) -> ForkServer:
    """Return the process that has imported these modules, of the interpreter of the arguments or of this one."""
    python = str(arguments[0]) if Path(arguments[0]).name.startswith("python") else sys.executable
    return fork_server(python, *modules)
