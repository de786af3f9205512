"""`/info`, `/openapi.json` and `/docs`: the endpoints about the model, for people and programs."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from serving_runtime.http import lazy
from serving_runtime.page.render import CONTENT_TYPE, page
from serving_runtime.protocols.interface import Answer, Endpoint, ServedModel, Status
from serving_runtime.protocols.table import PROTOCOLS

# Paths of the server itself that need no token: the kubelet's probes send none, nor does Prometheus if it finds pods by
# their annotations.
SERVER_OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/startupz", "/ping", "/health", "/metrics"})
Variables = Mapping[str, str]


def info(status: Status, _: Variables) -> Answer:
    """Raises NotLoadedError."""
    served = status.loaded()
    described = _described(*_identity(served))
    problem = served.example_problem or described["example_problem"]  # the second without a warm-up
    return Answer(body=orjson.dumps({**described, "example_problem": problem, "serving": served.serving}))


def openapi(status: Status, _: Variables) -> Answer:
    """Raises NotLoadedError."""
    served = status.loaded()
    return Answer(body=_openapi(*_identity(served), guarded=served.guarded))


def docs(_: Status, __: Variables) -> Answer:
    """Return the page for a browser, which is the same for every model: it asks the server for the rest."""
    body, headers = page()
    return Answer(body=body, media_type=CONTENT_TYPE, headers=headers)


def _identity(served: ServedModel) -> tuple[Path, str, str | None]:
    return served.metadata.directory, served.name, served.version


@lru_cache(1)
def _described(directory: Path, name: str, version: str | None) -> dict[str, Any]:
    return lazy.describe(directory, name=name, version=version)


@lru_cache(1)
def _openapi(directory: Path, name: str, version: str | None, *, guarded: bool) -> bytes:
    document = lazy.openapi(_described(directory, name, version), lazy.read_metadata(directory).signature)
    return orjson.dumps(lazy.with_token(document, OPEN_PATHS) if guarded else document)


ENDPOINTS: Final = tuple(
    Endpoint(method="GET", pattern=pattern, answer=answer, is_open=answer is docs)  # docs is the same for every model
    for pattern, answer in (("/docs", docs), ("/info", info), ("/openapi.json", openapi))
)
PROTOCOL_ENDPOINTS: Final = tuple(endpoint for protocol in PROTOCOLS for endpoint in protocol.endpoints)
OPEN_PATHS: Final = SERVER_OPEN_PATHS | {
    endpoint.pattern for endpoint in (*ENDPOINTS, *PROTOCOL_ENDPOINTS) if endpoint.is_open
}
