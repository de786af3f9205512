"""Proxies of the environment: the check that comes before a client uses them."""

import urllib.request
from typing import Final
from urllib.parse import urlsplit

PROXY_ADVICE: Final = (
    "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is not the address of an HTTP proxy, which looks like"
    " http://proxy.example:3128, or NO_PROXY is no list of hosts"
)


class ProxySettingError(ValueError):
    """A proxy of the environment cannot be used. The message has no value: a proxy's may hold a password."""

    def __init__(self) -> None:
        super().__init__(PROXY_ADVICE)


def check_proxies() -> None:
    """Raise ProxySettingError for a proxy that no client can use: httpx2 fails with other errors, some only later."""
    found = urllib.request.getproxies()
    for value in filter(None, map(found.get, ("http", "https", "all"))):
        try:
            parts = urlsplit(value if "://" in value else f"http://{value}")
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ProxySettingError
