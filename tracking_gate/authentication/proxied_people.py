"""People whom a proxy in front has authenticated, such as oauth2-proxy: named by headers that only it may send.

The same headers of any other sender count for nothing, and are never forwarded to MLflow.
"""

from collections.abc import Mapping
from typing import Final

from multidict import CIMultiDictProxy

from model_contract.secret import Secret
from model_contract.tokens import same
from tracking_gate.actors import Actor
from tracking_gate.authentication.caller_rights import Claims, actor_of
from tracking_gate.authentication.issuers_file import IssuersFile, Proxy
from tracking_gate.errors import Unavailable
from tracking_gate.http.client_addresses import PROXY_SECRET, parsed_address

# The end of a header's name for each claim.
PARTS: Final = {"user": "User", "email": "Email", "preferred_username": "Preferred-Username", "groups": "Groups"}


class ProxiedPeople:
    """Finds the person that the proxy of the file names."""

    def __init__(self, file: IssuersFile) -> None:
        self._file = file

    def find(self, headers: CIMultiDictProxy[str], remote: str | None) -> Actor | None:
        """Return the person, None if the proxy does not name one or did not send the request. Raises Unavailable."""
        proxy = self._file.proxy()
        if proxy is None or f"{proxy.headers}-User" not in headers or not _is_from(proxy, headers, remote):
            return None
        claims = _claims(proxy, headers)
        name = claims.get(proxy.name_claim)
        return actor_of(proxy.callers, claims, str(name), {"issuer": "proxy"}) if name else None


def _is_from(proxy: Proxy, headers: CIMultiDictProxy[str], remote: str | None) -> bool:
    """Return True if the sender has the address and the secret of the proxy, as far as the file names them."""
    if proxy.addresses and not _is_among(proxy, remote):
        return False
    if proxy.secret_file is None:
        return True
    try:
        known = Secret.from_file(proxy.secret_file)
    except (OSError, ValueError) as error:
        raise Unavailable("the secret of the proxy cannot be read") from error
    return same(headers.get(PROXY_SECRET, ""), known.reveal())


def _is_among(proxy: Proxy, remote: str | None) -> bool:
    address = parsed_address(remote or "")
    return address is not None and any(address in network for network in proxy.addresses)


def _claims(proxy: Proxy, headers: CIMultiDictProxy[str]) -> Claims:
    """Return the claims in the headers. A header that comes twice is left out: a client may have sent one."""
    sent = {name: headers.getall(f"{proxy.headers}-{part}", []) for name, part in PARTS.items()}
    single: Mapping[str, str] = {name: values[0].strip() for name, values in sent.items() if len(values) == 1}
    groups = [group.strip() for group in single.get("groups", "").split(",") if group.strip()]
    return {**single, "groups": groups}
