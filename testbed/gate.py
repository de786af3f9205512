"""The gate as a process, in front of a real MLflow."""

import base64
import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose, new_token
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, Process, free_port, installed, running
from tracking_gate.authentication.people import hashed

PROJECT: Final = "66c0a1b2c3d4e5f601234567"
OTHER: Final = "wine-team-2"
PASSWORD: Final = "correct horse"
PEOPLE: Final = {
    "jane": ([PROJECT], False),
    "olga": ([OTHER], False),
    "both": ([OTHER, PROJECT], False),
    "root": ([], True),
}
API: Final = "/api/2.0/mlflow"
RETRIED: Final = frozenset({429, 502, 503})
MODULES: Final = ("tracking_gate.cli", "tracking_gate.server")
PAUSE: Final = 0.1  # seconds between two tries; MLflow's own client and the init container wait longer

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as a client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def message(self) -> str:
        return str(self.json["message"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A running gate; `secret_dir` is its mounted Secret, `audit` its log."""

    uri: str
    server: MlflowServer
    secret_dir: Path
    audit: Path
    process: Process

    def token(self, purpose: Purpose, project: str = PROJECT) -> str:
        return (self.secret_dir / str(TokenKey(project_id=project, purpose=purpose))).read_text()

    def bearer(self, purpose: Purpose, project: str = PROJECT) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(purpose, project)}"}

    def basic(self, name: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()}

    def ask(
        self, method: str, path: str, body: Json | bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return ask(self.uri, method, path, body, headers)

    def lines(self) -> list[Json]:
        """Return the lines of the audit log."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


def ask(
    uri: str, method: str, path: str, body: Json | bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request on a new connection; a body that is an object goes as JSON."""
    sent = dict(headers or {})
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | sent
    connection = http.client.HTTPConnection(urlsplit(uri).netloc, timeout=PATIENCE)
    try:
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=dict(answer.headers.items()), body=answer.read())
    finally:
        connection.close()


@contextmanager
def gate(
    server: MlflowServer, directory: Path, *options: str, prefix: Sequence[str] = (), own_process: bool = False
) -> Iterator[Gate]:
    """Run a gate with tokens of two projects and four people, for the length of a `with` block.

    `prefix` is a command that runs the gate's command. Without it, the gate is a fork of a process that has imported
    its modules, unless it has a process of its own.
    """
    audit = directory / "audit.jsonl"
    secret_dir, people = credentials(directory)
    port = free_port()
    command: list[str | Path] = [
        *prefix,
        installed("model-api-gate"),
        "serve",
        f"--upstream={server.uri}",
        f"--secret-dir={secret_dir}",
        f"--people-file={people}",
    ]
    command += [f"--audit-log={audit}", "--host=127.0.0.1", f"--port={port}", *options]
    imported = () if prefix or own_process else MODULES
    with running(command, log=directory / "gate.log", env=os.environ, cwd=directory, imported=imported) as process:
        uri = f"http://127.0.0.1:{port}"
        process.wait_for_http(f"{uri}/readyz")
        yield Gate(uri=uri, server=server, secret_dir=secret_dir, audit=audit, process=process)


def credentials(directory: Path) -> tuple[Path, Path]:
    """Write tokens of two projects, and four people; return the directory of the tokens, and the file of people."""
    secret_dir, people = directory / "secret", directory / "people.json"
    secret_dir.mkdir(parents=True)
    for project in (PROJECT, OTHER):
        for purpose in Purpose:
            key = TokenKey(project_id=project, purpose=purpose)
            (secret_dir / str(key)).write_text(new_token(project, purpose).value.reveal())
    password = hashed(PASSWORD)
    people.write_text(
        json.dumps(
            {name: {"password": password, "projects": own, "admin": admin} for name, (own, admin) in PEOPLE.items()}
        )
    )
    return secret_dir, people


@dataclass(slots=True, kw_only=True)
class Sent:
    """Requests of clients that send one again while nothing answers, or the gate says that it cannot.

    `statuses` are those of the last tries, `again` the reasons of the others.
    """

    statuses: list[int] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def send(self, request: Callable[[], Answer], seconds: float = 60) -> int:
        """Send a request until it is answered, and return the status: 0 if nothing answers for so long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, reason = (answer := request()).status, f"{answer.status} {answer.body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                status, reason = 0, repr(error)
            if (status and status not in RETRIED) or time.monotonic() > deadline:
                self.statuses.append(status)
                return status
            self.again.append(reason)
            time.sleep(PAUSE)


@contextmanager
def clients(request: Callable[[int], Answer], *, count: int = 4, pause: float = 0.02) -> Iterator[Sent]:
    """Let clients send requests for the length of a block, each one after the other; `request` gets their number."""
    sent, stop = Sent(), threading.Event()

    def client() -> None:
        for number in itertools.count():
            if stop.wait(pause):
                return
            sent.send(partial(request, number))

    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join()
