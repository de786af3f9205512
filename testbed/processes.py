"""Processes for tests: each in a session of its own, with its output in a file, killed as a group."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from testbed.forks import Forked, server_for

Json = dict[str, Any]

PATIENCE: Final = 240.0  # seconds that anything may take on a machine with other work
# Beginning of a command that takes Ctrl-C: what a shell runs in the background ignores it, and so does all below that.
TAKES_SIGINT: Final = ("env", "--default-signal=INT")
LEAST_PORT: Final = 11_000
PORTS: Final = 19_000


class ProcessError(RuntimeError):
    """A process ended early, or did not answer in time; the message holds the end of its output."""


def installed(command: str) -> Path:
    """Return the path of a command of this environment, even if its folder is not on the PATH."""
    return Path(sys.executable).with_name(command)


def is_measured() -> bool:
    """Return True if coverage is measured, which each interpreter begins when it starts."""
    return any(name in os.environ for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"))


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free at this moment.

    It is below the range of which the kernel gives ports to outgoing connections, such as those of another test.
    """
    while True:
        port = LEAST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True, slots=True)
class Process:
    """A running process. `log` holds both of its outputs."""

    popen: subprocess.Popen[bytes] | Forked
    log: Path

    @classmethod
    def start(
        cls,
        arguments: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
        imported: Sequence[str] = (),
    ) -> Self:
        """Start a command; a program in Python may be a fork of a process that has `imported` modules of it.

        If coverage is measured, each program has a process of its own.
        """
        if imported and not is_measured():
            server = server_for(arguments, imported)
            return cls(server.start(arguments, env=env, cwd=cwd, output=log, errors=log), log)
        with log.open("ab") as output:
            return cls(
                subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(env),
                    cwd=cwd,
                    start_new_session=True,
                ),
                log,
            )

    def wait_for_http(self, url: str, *, seconds: float = PATIENCE, status: int = 200) -> None:
        """Wait until a GET of `url` (http, loopback) answers with `status`. Raises ProcessError if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                raise ProcessError(f"{self.popen.args!r} ended with {self.popen.returncode}:\n{self.tail()}")
            if _status(url) == status:
                return
            time.sleep(0.02)
        raise ProcessError(f"{url} did not answer {status} within {seconds} s:\n{self.tail()}")

    def wait_for_port(self, port: int) -> None:
        """Wait until the process accepts connections on the port (loopback). Raises ProcessError if it does not."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.popen.poll() is None:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return
            time.sleep(0.02)
        raise ProcessError(f"{self.popen.args!r} does not listen on port {port}:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, *, seconds: float = 15) -> int:
        """Ask the process to end, kill the rest of its group after `seconds`, and return its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """Kill the process and its group at once, and return its exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        return self.popen.wait()


@contextmanager
def running(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    imported: Sequence[str] = (),
) -> Iterator[Process]:
    """Run a process for the length of a `with` block."""
    process = Process.start(arguments, log=log, env=env, cwd=cwd, imported=imported)
    try:
        yield process
    finally:
        process.stop()


def completed(  # noqa: PLR0913  what a process has
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    imported: Sequence[str] = (),
    given: str = "",
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with a standard input, and return its outputs; `imported` as for `Process.start`."""
    if not imported or is_measured():
        return subprocess.run(
            arguments,
            env=dict(env),
            cwd=cwd,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    with tempfile.TemporaryDirectory() as directory:
        output, errors, read = (Path(directory) / name for name in ("output", "errors", "given"))
        read.write_text(given)
        server = server_for(arguments, imported)
        process = server.start(arguments, env=env, cwd=cwd, given=read, output=output, errors=errors)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process for the length of a `with` block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def lives(pid: int) -> bool:
    """Return False if the process has ended, also if its parent has not asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, none if it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def open_sockets() -> int:
    """Return the number of sockets of this process."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found += str(entry.readlink()).startswith("socket:")
    return found


@asynccontextmanager
async def sockets_closed() -> AsyncIterator[None]:
    """Return from the `async with` block when it has left no socket open: connections end in later turns of a loop."""
    before = open_sockets()
    yield
    async with asyncio.timeout(PATIENCE):
        while open_sockets() > before:
            await asyncio.sleep(0.01)


class JsonLines:
    """A process that answers each line of JSON with one."""

    def __init__(self, questions: IO[str], answers: IO[str]) -> None:
        self._questions = questions
        self._answers = answers

    def ask(self, question: Json | Sequence[Any]) -> Json:
        """Return the answer. Raises ValueError if the process has ended."""
        self._questions.write(json.dumps(question) + "\n")
        self._questions.flush()
        found: Json = json.loads(self._answers.readline())
        return found


@contextmanager
def json_lines(
    command: Sequence[str | Path], imported: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[JsonLines]:
    """Run a program as such a process for the length of a `with` block: a fork of one that has imported the modules."""
    with tempfile.TemporaryDirectory() as directory:
        questions, answers, errors = (Path(directory) / name for name in ("questions", "answers", "errors"))
        os.mkfifo(questions)
        os.mkfifo(answers)
        server = server_for(command, imported)
        process = server.start(command, env=env or os.environ, given=questions, output=answers, errors=errors)
        with questions.open("w") as written, answers.open() as read:
            yield JsonLines(written, read)
        process.wait(PATIENCE)


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  a loopback address of ours
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
