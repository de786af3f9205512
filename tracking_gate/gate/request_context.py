"""A request on its way through the gate."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tracking_gate.actors import Actor
from tracking_gate.http.parsing import encoded_path, parsed_query
from tracking_gate.policy.routes import Match, Route


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """One request, and what has become known of it."""

    request: web.BaseRequest
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    path: str = ""
    query: str = ""
    found: Match | None = None
    actor: Actor | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    decision: str = "allow"
    abandoned: bool = False  # its client has hung up

    @property
    def route(self) -> Route | None:
        return self.found.route if self.found else None

    @property
    def rule(self) -> str:
        return self.route.rule if self.route else "unknown"

    @property
    def named(self) -> dict[str, str]:
        """What the query and the path name. Each key comes once, so MLflow reads the same. Raises InvalidRequest."""
        return parsed_query(self.query) | (self.found.variables if self.found else {})

    @property
    def target(self) -> str:
        """The path and query as they are forwarded."""
        return encoded_path(self.path) + (f"?{self.query}" if self.query else "")
