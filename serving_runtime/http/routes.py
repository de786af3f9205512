"""The paths of the protocols: one table, from method and path to the protocol, or to a page of one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from serving_runtime.http import pages
from serving_runtime.protocols import domino, kserve_v1
from serving_runtime.protocols.domino import DOMINO
from serving_runtime.protocols.interface import Page, Protocol
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference import protocol as open_inference
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE

REMEMBERED: Final = 256  # paths that were asked for last


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`pattern` is a path with variables in braces. Without a `page`, a request is a prediction. `protocol` has the
    shape of errors.
    """

    method: str
    pattern: str
    protocol: Protocol
    page: Page | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The route of a path, and the values of its variables."""

    route: Route
    path: Mapping[str, str]


ROUTES: Final = (
    Route(method="POST", pattern="/invocations", protocol=INVOCATIONS),
    *(Route(method="POST", pattern=pattern, protocol=OPEN_INFERENCE) for pattern in open_inference.PREDICTIONS),
    *(
        Route(method=method, pattern=pattern, protocol=OPEN_INFERENCE, page=page)
        for method, pattern, page in open_inference.PAGES
    ),
    *(Route(method="POST", pattern=pattern, protocol=KSERVE_V1) for pattern in kserve_v1.PREDICTIONS),
    *(
        Route(method=method, pattern=pattern, protocol=KSERVE_V1, page=page)
        for method, pattern, page in kserve_v1.PAGES
    ),
    *(Route(method="POST", pattern=pattern, protocol=DOMINO) for pattern in domino.PREDICTIONS),
    *(Route(method="GET", pattern=pattern, protocol=INVOCATIONS, page=page) for pattern, page in pages.PAGES),
)
PATTERNS: Final = tuple(
    (route, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+?)", re.escape(route.pattern)), re.DOTALL))
    for route in ROUTES
)


@lru_cache(REMEMBERED)
def find(path: str) -> Match | None:
    """The route whose pattern `path` is, whatever the method."""
    for route, pattern in PATTERNS:
        if found := pattern.fullmatch(path):
            return Match(route=route, path=found.groupdict())
    return None


def shape_of(path: str) -> Protocol:
    """The protocol in whose shape a request of an unknown path is refused."""
    prefixes = {"/v2": OPEN_INFERENCE, "/v1": KSERVE_V1}
    return prefixes.get(path[:3], INVOCATIONS)
