"""`model-api-runtime serve` as a process, run as in a pod, and a client of it."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_contract.names import ARTIFACTS_PATH
from testbed.processes import PATIENCE, Process, free_port, installed, running

COMMAND: Final = (installed("model-api-runtime"), "serve", "--host", "127.0.0.1")
JSON: Final = {"Content-Type": "application/json"}
# Without these flags a server that is ready imports MLflow once more, to compare what both loaders predict.
NATIVE: Final = ("--loader", "native")
# Libraries of each server, and of one whose model MLflow loads.
LIBRARIES: Final = ("serving_runtime.process.serve", "serving_runtime.process.supervisor", "skops.io")
WITH_MLFLOW: Final = (*LIBRARIES, "mlflow.pyfunc.model", "mlflow.sklearn")
WITHOUT_PYARROW: Final = ("testbed.without_pyarrow", *LIBRARIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class WholeRequests(http.client.HTTPConnection):
    """A connection that sends a request in one piece: a server that has its head has its body."""

    def endheaders(self, message_body: Any = None, **options: Any) -> None:
        self._pieces: list[Any] = []
        super().endheaders(message_body, **options)
        super().send(b"".join(self._pieces))

    def send(self, data: Any) -> None:
        self._pieces.append(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeServer:
    """The processes of a server that listens on `port`, and for gRPC on `grpc_port` if it is not 0."""

    port: int
    process: Process
    grpc_port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Return a connection that gives up on an answer in the end."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def client(self) -> http.client.HTTPConnection:
        return WholeRequests("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own."""
        client = self.client()
        try:
            client.request(method, path, body, dict(headers or {}))
            response = client.getresponse()
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=response.read(),
            )
        finally:
            client.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def predict(self, document: Any) -> Answer:
        return self.ask("POST", "/invocations", json.dumps(document), JSON)

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        """Wait for the condition. Raises TimeoutError with the log's end."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(self.process.tail())
            time.sleep(0.02)

    def wait_until_inflight(self, count: int) -> None:
        """Wait until so many requests have no answer. One that was sent in one piece is with the model, or waits."""
        line = f"model_api_runtime_inflight {count}\n"
        self.wait_until(lambda: line in self.get("/metrics").body.decode())

    def wait_until_ready(self) -> None:
        self.process.wait_for_http(f"{self.url}/readyz")

    def workers(self) -> list[int]:
        """Return the ids of the supervisor's living workers.

        The process that compares the model has a higher niceness, and is left out.
        """
        children = Path(f"/proc/{self.process.popen.pid}/task/{self.process.popen.pid}/children").read_text().split()
        return [int(pid) for pid in children if not _dead_or_gentle(pid)]

    def ask_to_end(self) -> None:
        self.process.popen.send_signal(signal.SIGTERM)

    def end_drain(self) -> None:
        """Do what the supervisor's timer does at the end of `--drain-delay`."""
        self.process.popen.send_signal(signal.SIGALRM)

    def exit_code(self) -> int:
        return self.process.popen.wait(PATIENCE)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log that are JSON."""
        return [json.loads(line) for line in self.process.log.read_text().splitlines() if line.startswith("{")]

    def awaited(self, fits: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Return the lines that fit, as soon as there is one: a line is written after its answer."""
        self.wait_until(lambda: any(map(fits, self.lines())))
        return list(filter(fits, self.lines()))


@contextmanager
def starting(
    model: Path | None,
    *flags: str,
    log: Path,
    environ: Mapping[str, str] | None = None,
    grpc: bool = False,
    own_process: bool = False,
) -> Iterator[RuntimeServer]:
    """Start a server, without waiting until it is ready.

    Unless it has a process of its own, it is a fork of one that has imported its libraries.
    """
    port, grpc_port = free_port(), free_port() if grpc else 0
    flags = (*flags, "--grpc-port", str(grpc_port)) if grpc else flags
    given = {ARTIFACTS_PATH: str(model)} if model else {}
    env = (
        {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        | given
        | dict(environ or {})
    )
    imported = () if own_process else _libraries(model, flags)
    with running([*COMMAND, "--port", str(port), *flags], log=log, env=env, imported=imported) as process:
        yield RuntimeServer(port=port, process=process, grpc_port=grpc_port)


@contextmanager
def serving(model: Path, *flags: str, log: Path, **more: Any) -> Iterator[RuntimeServer]:
    """Start a server, and wait until it is ready."""
    with starting(model, *flags, log=log, **more) as server:
        server.wait_until_ready()
        yield server


def _libraries(model: Path | None, flags: Sequence[str]) -> Sequence[str]:
    by_mlflow = "mlflow" in flags or (model is not None and (model / "python_model.pkl").exists())
    return WITH_MLFLOW if by_mlflow else LIBRARIES


def _dead_or_gentle(pid: str) -> bool:
    """Return True for a process that ends too: the placeholder server may still do so once the server is ready."""
    try:
        nice = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16]
        ends = not Path(f"/proc/{pid}/cmdline").read_bytes()  # the kernel has taken its memory away
    except (FileNotFoundError, ProcessLookupError):
        return True
    return ends or int(nice) > os.nice(0)
