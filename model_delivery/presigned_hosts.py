"""Hosts of object stores to which presigned URLs may lead, and the way to them: MODEL_API_PRESIGNED_HOSTS."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from model_contract.allowed_hosts import DEFAULT_PORTS, AllowedHost, parse_allowed_hosts
from model_contract.names import PRESIGNED_HOSTS
from model_contract.tls import TlsSettingError, tls_context
from model_delivery.errors import InvalidInputError
from model_delivery.proxy import Proxy, proxy_for
from model_delivery.tracking_uri import HOST, TrackingUri

SENDABLE: Final = re.compile(r"[!-~]*")  # printable ASCII without the space


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedHosts:
    """The allowed hosts, and the proxies and the TLS context for requests to them. Without a host, no URL is asked for.

    Their TLS context has neither the authorities nor the certificate that are for MLflow only.
    """

    allowed: tuple[AllowedHost, ...] = ()
    tls: ssl.SSLContext | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "PresignedHosts":
        """Read the variables. Raises InvalidInputError."""
        try:
            allowed = parse_allowed_hosts(environ.get(PRESIGNED_HOSTS, ""))
        except ValueError as error:
            raise InvalidInputError(f"{PRESIGNED_HOSTS}: {error}") from error
        try:
            tls = tls_context(environ, tracking=False) if any(host.scheme == "https" for host in allowed) else None
        except TlsSettingError as error:
            raise InvalidInputError(str(error)) from error
        return cls(allowed=allowed, tls=tls, environ=environ)

    def check(self, uri: TrackingUri) -> None:
        """Raise InvalidInputError if the address is not allowed."""
        if not any(host.covers(uri.scheme, uri.host, uri.port) for host in self.allowed):
            raise InvalidInputError(f"the presigned URL names {uri}, which {PRESIGNED_HOSTS} does not allow")

    def proxy(self, uri: TrackingUri) -> Proxy | None:
        """Return the proxy for the address; None for none."""
        return proxy_for(uri, self.environ)


def split_url(url: str) -> tuple[TrackingUri, str]:
    """Return the origin of a presigned URL, and its path and query.

    Raises InvalidInputError, which never shows the URL: its signature is a secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    more = "@" in parts.netloc or parts.fragment
    if not SENDABLE.fullmatch(url) or parts.scheme not in DEFAULT_PORTS or not HOST.fullmatch(host) or more:
        raise InvalidInputError("the presigned URL is not an address of http or https without a user and a fragment")
    origin = TrackingUri(scheme=parts.scheme, host=host, port=port or DEFAULT_PORTS[parts.scheme])
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
