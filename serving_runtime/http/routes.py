"""The routes of the protocols and of the endpoints about the model, by method and path.

The probes, `/version`, `/metrics` and the list of routes are in `application.py`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from serving_runtime.http import endpoints
from serving_runtime.protocols.interface import Endpoint, Protocol
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.table import PROTOCOLS

CACHED_PATHS: Final = 256  # the paths that were asked for last


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route. It predicts if it has no `endpoint`. `pattern` is a path with variables in braces.

    `protocol` shapes its errors.
    """

    method: str
    pattern: str
    protocol: Protocol
    endpoint: Endpoint | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The route of a path, and the values of its variables."""

    route: Route
    path: Mapping[str, str]


def _routes(protocol: Protocol) -> Iterator[Route]:
    yield from (Route(method="POST", pattern=pattern, protocol=protocol) for pattern in protocol.predictions)
    yield from (
        Route(method=endpoint.method, pattern=endpoint.pattern, protocol=protocol, endpoint=endpoint)
        for endpoint in protocol.endpoints
    )


ROUTES: Final = (
    *(route for protocol in PROTOCOLS for route in _routes(protocol)),
    *(
        Route(method=endpoint.method, pattern=endpoint.pattern, protocol=INVOCATIONS, endpoint=endpoint)
        for endpoint in endpoints.ENDPOINTS
    ),
)
PATTERNS: Final = tuple(
    (route, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+?)", re.escape(route.pattern)), re.DOTALL))
    for route in ROUTES
)
PREFIXES: Final = {protocol.prefix: protocol for protocol in PROTOCOLS if protocol.prefix}


@lru_cache(CACHED_PATHS)
def find(path: str) -> Match | None:
    """Return the route with a pattern that matches `path`, for any method; None if there is none."""
    for route, pattern in PATTERNS:
        if found := pattern.fullmatch(path):
            return Match(route=route, path=found.groupdict())
    return None


def protocol_of_unknown_path(path: str) -> Protocol:
    """Return the protocol that shapes the refusal of an unknown path."""
    return next((protocol for prefix, protocol in PREFIXES.items() if path.startswith(prefix)), INVOCATIONS)
