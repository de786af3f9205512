"""Requests and answers of the handlers, and the rows of a table of routes."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.domino.platform import Platform

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request: `query` has the first value of each key, `variables` those of the path."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> Json:
        """JSON object of the body. Raises RefusedError."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError as error:
            raise RefusedError(400, f"Invalid Json: {error}") from error
        if not isinstance(found, dict):
            raise RefusedError(400, "expected a JSON object")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"

    @classmethod
    def of(cls, document: Any, status: int = 200) -> "Answer":
        return cls(status=status, body=json.dumps(document).encode())


class RefusedError(Exception):
    """Domino refuses the request; its answer has the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[Platform, Request], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table of routes; `<name>` stands for one segment of a path."""

    method: str
    path: str
    handler: Handler

    def match(self, method: str, path: str) -> Mapping[str, str] | None:
        found = re.fullmatch(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", self.path), path) if method == self.method else None
        return found.groupdict() if found else None


def required(document: Json, names: Sequence[str], place: str = "") -> None:
    """Raise RefusedError with all missing names, as Domino's own parser does."""
    if missing := [f"{place}{name}" for name in names if document.get(name) is None]:
        raise RefusedError(400, f"Invalid request: missing required fields: {', '.join(missing)}")


def known(document: Json, names: Sequence[str], place: str = "") -> None:
    """Raise RefusedError for a field that the request does not have."""
    if unknown := [f"{place}{name}" for name in document if name not in names]:
        raise RefusedError(400, f"Invalid request: unknown fields: {', '.join(unknown)}")
