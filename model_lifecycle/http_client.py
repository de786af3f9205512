"""HTTP clients with the proxies of the environment, and the errors of the lifecycle for failed requests."""

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from model_contract.allowed_hosts import DEFAULT_PORTS
from model_contract.exit_codes import ExitCode
from model_contract.network_causes import Cause, Peer, cause_of, probed
from model_contract.proxy_settings import PROXY_ADVICE, check_proxies
from model_lifecycle.errors import (
    InvalidError,
    LifecycleError,
    NotAuthorisedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)

KINDS: Final[Mapping[ExitCode, type[LifecycleError]]] = {
    kind.exit_code: kind
    for kind in (InvalidError, NotAuthorisedError, NotFoundError, PreconditionError, UnavailableError)
}


def new_client(**options: Any) -> httpx2.Client:
    """Return a client. Raises InvalidError for an invalid proxy, without its value: it may hold a password."""
    with proxy_errors():
        return httpx2.Client(**options)


@contextmanager
def proxy_errors() -> Iterator[None]:
    """Raise InvalidError for an invalid proxy, of the environment or as the block makes a client with it."""
    try:
        check_proxies()
        yield
    except (ValueError, TypeError, ImportError, UnicodeError, httpx2.InvalidURL) as error:
        raise InvalidError(PROXY_ADVICE) from error


def peer_of(name: str, uri: str, setting: str) -> Peer:
    """Return the server at `uri`, and the proxy that the environment names for it."""
    parts = urlsplit(uri)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    proxy = _proxy_of(parts.scheme, host)
    return Peer(
        name=name,
        uri=uri,
        host=host,
        port=port,
        setting=setting,
        proxy=proxy,
        proxy_setting=f"{parts.scheme.upper()}_PROXY",
    )


def cause_of_failure(error: Exception, peer: Peer) -> Cause:
    """Return the cause of an error that httpx2 raised before an answer came."""
    return probed(cause_of(error, peer), peer)


def error_of(cause: Cause) -> LifecycleError:
    """Return the error that ends a command for this cause."""
    return KINDS.get(cause.exit_code, UnavailableError)(cause.sentence)


def _proxy_of(scheme: str, host: str) -> str | None:
    found = urllib.request.getproxies()
    value = found.get(scheme) or found.get("all")
    if not value or urllib.request.proxy_bypass(host):
        return None
    with suppress(ValueError):
        parts = urlsplit(value if "://" in value else f"http://{value}")
        return f"{parts.hostname}:{parts.port or 80}"
    return None
