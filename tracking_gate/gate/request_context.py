"""The context of one request: all facts that the gate learns about it while handling it."""

import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tracking_gate.actors import Actor
from tracking_gate.errors import InvalidRequest
from tracking_gate.http.client_addresses import ClientAddresses
from tracking_gate.http.parsing import decoded_path, encoded_path, parsed_query
from tracking_gate.policy.routes import Match, Route, match


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """One request; `facts` go into its audit line, and `abandoned` notes that the client has hung up.

    `forwarded_by` is the replica of the gate that has forwarded it. `give_back` frees the caller's slot.
    """

    request: web.BaseRequest
    addresses: ClientAddresses
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    path: str = ""
    query: str = ""
    found: Match | None = None
    actor: Actor | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    decision: str = "allow"
    abandoned: bool = False
    give_back: Callable[[], None] = lambda: None
    forwarded_by: str | None = None

    def find_route(self) -> None:
        """Set path, query and the matching route. Raises InvalidRequest if MLflow could read another path or query."""
        raw, separator, self.query = self.request.raw_path.partition("?")
        if "#" in self.request.raw_path or not raw.startswith("/"):
            raise InvalidRequest("the request's target is not a path")
        if raw.startswith("//"):  # MLflow's clients in Java and R put a / after the address in any case
            raise InvalidRequest("the path begins with //: leave out the / at the end of MLFLOW_TRACKING_URI")
        self.path = decoded_path(raw)
        if separator and any(not "!" <= character <= "~" for character in self.query):
            raise InvalidRequest("the query holds characters that must be written as %XX")
        self.found = match(self.request.method, self.path)

    @property
    def route(self) -> Route | None:
        return self.found.route if self.found else None

    @property
    def rule(self) -> str:
        """The label of metrics and of the audit log."""
        return self.route.rule if self.route else "unknown"

    @property
    def caller(self) -> Hashable:
        """The holder of limits: a token, a person, or the address of an unknown client."""
        return (self.actor.kind, self.actor.name) if self.actor else self.client_address

    @property
    def client_address(self) -> str:
        return self.addresses.of(self.request)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of query and path. Raises InvalidRequest if a key of the query comes twice."""
        return parsed_query(self.query) | (self.found.variables if self.found else {})

    @property
    def target(self) -> str:
        """The path and query as they are forwarded."""
        return encoded_path(self.path) + (f"?{self.query}" if self.query else "")
