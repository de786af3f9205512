"""The HTTP proxy of a request: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as curl and Go read them.

The standard library does not support networks (10.0.0.0/8) in NO_PROXY, which are usual in clusters.
"""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from model_contract.secret import Secret
from model_delivery.errors import InvalidInputError
from model_delivery.tracking_uri import HOST, TrackingUri


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy, with the value of its header `Proxy-Authorization`."""

    host: str
    port: int
    authorization: Secret | None = None

    def headers(self) -> dict[str, str]:
        return {"Proxy-Authorization": self.authorization.reveal()} if self.authorization else {}


def proxy_for(uri: TrackingUri, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for the URI, None for none: lower case > upper case, for both variables.

    Raises InvalidInputError, without the value, for one that cannot be used.
    """
    name = f"{uri.scheme}_proxy"
    value = environ.get(name) or environ.get(name.upper())
    if not value or _goes_directly(uri, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    return _parse(value if "://" in value else f"http://{value}", name=name.upper())


def _parse(value: str, *, name: str) -> Proxy:
    try:
        parts = urlsplit(value)
        port = parts.port or 80
    except ValueError:
        raise InvalidInputError(f"{name} is not a URI; it must look like http://proxy.example:3128") from None
    if parts.scheme != "http" or not HOST.fullmatch(parts.hostname or ""):
        raise InvalidInputError(
            f"{name} is not the address of an HTTP proxy; it must look like http://proxy.example:3128"
        )
    return Proxy(host=parts.hostname or "", port=port, authorization=_basic(parts.username, parts.password))


def _basic(user: str | None, password: str | None) -> Secret | None:
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")


def _goes_directly(uri: TrackingUri, no_proxy: str) -> bool:
    return any(_covers(rule.strip().lower(), uri) for rule in no_proxy.split(","))


def _covers(rule: str, uri: TrackingUri) -> bool:
    host = uri.host.lower()
    if rule == "*" or rule in {host, uri.authority.lower()}:
        return True
    if network := _network(rule):
        return _in_network(host, network)
    domain = rule.removeprefix("*").lstrip(".")
    return bool(domain) and host.endswith(f".{domain}")


def _network(rule: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(rule, strict=False) if "/" in rule else None
    except ValueError:
        return None


def _in_network(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
