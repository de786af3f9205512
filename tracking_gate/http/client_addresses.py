"""Addresses of clients, as the limits count them, and the headers by which a proxy in front tells about a client."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the commands without a server read networks too
    from aiohttp import web

Network = IPv4Network | IPv6Network
PROXY_HEADERS: Final = ("x-forwarded-", "x-auth-request-")  # the beginnings of their names; none is forwarded
PROXY_SECRET: Final = "X-Gate-Proxy-Secret"
WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class ClientAddresses:
    """Finds the address of a client, also behind proxies."""

    def __init__(self, proxies: Sequence[Network] = ()) -> None:
        self._proxies = proxies

    def of(self, request: "web.BaseRequest") -> str:
        """Return the client's address; from a proxy, the last address in X-Forwarded-For that is not a proxy's."""
        peer = request.remote or "unknown"
        if not self.is_proxy(peer):
            return address_group(peer)
        named = [part.strip() for value in request.headers.getall("X-Forwarded-For", []) for part in value.split(",")]
        return address_group(next((name for name in reversed(named) if not self.is_proxy(name)), peer))

    def is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        parsed = parsed_address(address)
        return parsed is not None and any(parsed in network for network in self._proxies)


def address_group(address: str) -> str:
    """Return an IPv4 address as it is, and the /64 of an IPv6 address: one client may have all of it."""
    parsed = parsed_address(address)
    if parsed is None:
        return address[:64]
    return str(ip_network((parsed, 64), strict=False) if isinstance(parsed, IPv6Address) else parsed)


def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address without a port, which some proxies write behind it, and as IPv4 if it is mapped to IPv6."""
    found = WITH_PORT.fullmatch(text)
    try:
        parsed = ip_address((found[1] or found[2] if found else text).partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def parsed_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks. Raises ValueError, which names the text."""
    return tuple(ip_network(text, strict=False) for text in texts)
