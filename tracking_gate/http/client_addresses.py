"""Addresses of clients, as the limits count them, and the headers by which a proxy in front tells about a client."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import web

Network = IPv4Network | IPv6Network
PROXY_HEADERS: Final = ("x-forwarded-", "x-auth-request-")  # the beginnings of their names; none is forwarded
PROXY_SECRET: Final = "X-Gate-Proxy-Secret"


class ClientAddresses:
    """Finds the address of a client, also behind proxies."""

    def __init__(self, proxies: Sequence[Network] = ()) -> None:
        self._proxies = proxies

    def of(self, request: web.BaseRequest) -> str:
        """Return the client's address; from a proxy, the last address in X-Forwarded-For that is not a proxy's."""
        peer = request.remote or "unknown"
        if not self.is_proxy(peer):
            return address_group(peer)
        named = [part.strip() for value in request.headers.getall("X-Forwarded-For", []) for part in value.split(",")]
        return address_group(next((name for name in reversed(named) if not self.is_proxy(name)), peer))

    def is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)


def address_group(address: str) -> str:
    """Return an IPv4 address as it is, and the /64 of an IPv6 address, all of which one client has."""
    if ":" not in address:
        return address[:64]
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or ip_network((parsed, 64), strict=False))


def parsed_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks. Raise ValueError, which names the text."""
    return tuple(ip_network(text, strict=False) for text in texts)
