"""Fake users and projects of Domino: the two routes of python-domino 2.2 that the gate asks."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from testbed.http_server import in_thread, send_json

RELATIONSHIPS: Final = ("Owned", "Collaborating")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of Domino, and the ids of their projects."""

    owned: tuple[str, ...] = ()
    collaborating: tuple[str, ...] = ()
    suggested: tuple[str, ...] = ()  # which Domino shows them, and which are not theirs


@dataclass(slots=True, kw_only=True)
class DominoUsers:
    """Users with their API keys (`keys`) and access tokens (`tokens`), each to a user's name.

    Everything may change while the server runs.
    """

    users: Mapping[str, User]
    keys: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    url: str = ""
    status: int | None = None  # what every question is answered with instead
    delay: float = 0.0  # seconds before each answer
    asked: list[str] = field(default_factory=list)

    def name(self, headers: Mapping[str, str]) -> str | None:
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        return self.keys.get(headers.get("X-Domino-Api-Key") or "") or (
            self.tokens.get(token) if scheme == "Bearer" else None
        )

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        parts, name = urlsplit(path), self.name(headers)
        if self.status is not None:
            return self.status, {"message": "no"}
        if name is None:
            return 401, {"message": "Unauthorized"}
        user = self.users[name]
        if parts.path == "/v4/users/self":
            return 200, {
                "id": "5a6fd2c7e4b0e1ee4ae0bc6f",
                "userName": name,
                "fullName": name.title(),
                "email": f"{name}@example.com",
            }
        relationship = parse_qs(parts.query).get("relationship", [""])[0]
        if parts.path != "/v4/gateway/projects" or relationship not in RELATIONSHIPS:
            return 500, {"message": f"No value found for '{relationship}'"}  # as 6.2 answers
        own = user.owned if relationship == "Owned" else user.collaborating
        return 200, [
            *(_project(one, relationship) for one in own),
            *(_project(one, "Suggested") for one in user.suggested),
        ]


def _project(identity: str, relationship: str) -> Json:
    return {
        "id": identity,
        "name": "wine",
        "ownerName": "jane",
        "visibility": "Private",
        "relationship": relationship,
        "tags": [],
    }


class Handler(BaseHTTPRequestHandler):
    """Answers from the state of its server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer of two writes waits 40 ms in between
    server: "Server"

    def do_GET(self) -> None:
        state = self.server.state
        state.asked.append(self.path)
        time.sleep(state.delay)
        send_json(self, *state.answer(self.path, dict(self.headers.items())))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """One thread for each connection; none outlives the process."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, state: DominoUsers) -> None:
        self.state = state
        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def domino_users(state: DominoUsers) -> Iterator[DominoUsers]:
    """Answer at `state.url` for the length of a `with` block."""
    server = Server(state)
    state.url = f"http://127.0.0.1:{server.server_port}"
    with in_thread(server):
        yield state
