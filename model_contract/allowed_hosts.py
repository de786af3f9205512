"""Hosts that a presigned URL may name: a list by comma of `host`, `*.domain`, `host:port` and `http://host:port`."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

EXAMPLE: Final = "*.s3.eu-west-1.amazonaws.com,http://minio.storage:9000"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|[0-9a-f:.]{2,45}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedHost:
    """One host, or each one below a domain if `host` begins with `*.`, with one scheme and one port."""

    scheme: str
    host: str
    port: int

    def covers(self, scheme: str, host: str, port: int) -> bool:
        """Return True if requests to this host are allowed."""
        if (scheme, port) != (self.scheme, self.port):
            return False
        wanted, domain = host.lower(), self.host.removeprefix("*")
        if domain == self.host:
            return wanted == domain
        return wanted.endswith(domain) and wanted != domain


def parse_allowed_hosts(text: str) -> tuple[AllowedHost, ...]:
    """Return the hosts of the list. Raises ValueError with the form that it must have."""
    return tuple(_parse(entry.strip()) for entry in text.split(",") if entry.strip())


def _parse(entry: str) -> AllowedHost:
    try:
        parts = urlsplit(entry if "://" in entry else f"https://{entry}")
        port = parts.port
    except ValueError:
        raise ValueError(f'it must be a list of hosts, such as "{EXAMPLE}"') from None
    host = parts.hostname or ""
    more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in DEFAULT_PORTS or not HOST.fullmatch(host) or more:
        raise ValueError(f'it must be a list of hosts, such as "{EXAMPLE}"')
    return AllowedHost(scheme=parts.scheme, host=host, port=port or DEFAULT_PORTS[parts.scheme])
