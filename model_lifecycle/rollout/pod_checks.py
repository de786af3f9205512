"""Checks of a new pod's server: it serves the version, answers the example, and predicts as recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

from model_contract.recordings import Outcome, Recorded
from model_contract.secret import Secret
from model_lifecycle.errors import NotAuthorisedError, PreconditionError
from model_lifecycle.http_client import new_client
from model_lifecycle.rollout.cluster_objects import ANSWER_TIMEOUT, Reply, asked
from model_lifecycle.rollout.desired_version import DesiredVersion

MOST_LINES: Final = 10  # of a recording, in a message


class Server(Protocol):
    """A server of a model: a pod, or an address."""

    title: str

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """Return status and JSON. Raises LifecycleError if no answer comes."""


class Address:
    """The server at a URL. `token` is sent with each request."""

    def __init__(self, url: str, token: Secret | None = None) -> None:
        self.title = url
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        self._client = new_client(headers=headers, timeout=ANSWER_TIMEOUT)

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        return asked(self._client, self.title, method, self._url + path, body)

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Recorded requests, and how far the new answers may be from the recorded ones."""

    requests: Sequence[Recorded] = ()
    tolerance: float = 0.0
    allowed: int = 0


def info_of(server: Server) -> dict[str, Any]:
    """Return `/info`. Raises PreconditionError if the server is not this project's runtime, NotAuthorisedError."""
    status, document = server.ask("GET", "/info")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise NotAuthorisedError(
            f"{server.title} requires a token, which the API server does not pass on: name the address with --url and"
            " the token with --url-token-file, or call no pod with --no-call"
        )
    if status != HTTPStatus.OK or not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise PreconditionError(
            f"{server.title} answers /info with {status} and without a model: it is not this project's runtime, which"
            " --no-call does not need"
        )
    return document


def version_difference(info: dict[str, Any], desired: DesiredVersion) -> str | None:
    """Return the difference between `/info` and the registry in words; None if the server has the version."""
    model = info["model"]
    for key, wanted in (("version", desired.version), ("run_id", desired.run_id)):
        served = model.get(key)
        if served and wanted and served != wanted:
            return f"{key} {served} instead of {wanted}"
    return None


def check_example(server: Server, info: dict[str, Any]) -> bool:
    """Send the model's example; return False if it has none. Raises PreconditionError if it is not answered."""
    example = info.get("example")
    if example is None or info.get("example_problem"):
        return False
    status, _ = server.ask("POST", "/invocations", example)
    if status != HTTPStatus.OK:
        raise PreconditionError(f"{server.title} answers the model's own example with {status}")
    return True


def compare(server: Server, comparison: Comparison, before_each: Callable[[], None]) -> int:
    """Send the recorded requests, and return how many were. Raises PreconditionError if too many answers differ."""
    sent, different = 0, []
    for recorded in comparison.requests:
        before_each()
        if not recorded.is_complete:
            continue
        sent += 1
        outcome, _ = recorded.compared(*server.ask("POST", recorded.path, recorded.request), comparison.tolerance)
        if outcome is Outcome.DIFFERENT:
            different.append(recorded.line)
    if len(different) > comparison.allowed:
        lines = ", ".join(map(str, different[:MOST_LINES])) + (", ..." if len(different) > MOST_LINES else "")
        raise PreconditionError(
            f"{len(different)} of {sent} recorded requests are answered otherwise than allowed: lines {lines}"
            " (`model-api-runtime replay` shows the answers)"
        )
    return sent
