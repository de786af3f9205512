"""One Lease of the Kubernetes API: read, and replaced if it is still the version that was read."""

import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from tracking_gate.settings import LeaseName

Json = dict[str, Any]

TOKEN: Final = "token"  # the kubelet replaces this file before the token ends
AUTHORITY: Final = "ca.crt"


class LeaseError(Exception):
    """The Lease could not be read or replaced. A replacement may have happened."""


class LeaseConflict(LeaseError):  # noqa: N818  what the API server calls it
    """The Lease was replaced since it was read."""


class LeaseClient:
    """Reads and replaces one Lease; an asynchronous context manager."""

    def __init__(self, url: str, account: Path, name: LeaseName, *, seconds: float) -> None:
        """`account` is the mounted service account, `seconds` the time limit of one request."""
        self._address = f"{url.rstrip('/')}/apis/coordination.k8s.io/v1/namespaces/{name.namespace}/leases/{name.name}"
        self._account = account
        self._name = name
        self._seconds = seconds

    async def __aenter__(self) -> "LeaseClient":
        """Open the connection. Raises OSError if the mounted service account has no authority."""
        authority = self._account / AUTHORITY
        tls = ssl.create_default_context(cafile=str(authority)) if self._address.startswith("https:") else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def read(self) -> Json:
        """Return the Lease. Raises LeaseError."""
        return await self._asked("GET", None)

    async def replace(self, document: Json) -> Json:
        """Replace the Lease by a changed document, and return it as stored. Raises LeaseConflict, LeaseError."""
        return await self._asked("PUT", document)

    async def _asked(self, method: str, document: Json | None) -> Json:
        try:
            headers = {"Authorization": f"Bearer {(self._account / TOKEN).read_text().strip()}"}
            async with self._session.request(method, self._address, json=document, headers=headers) as answer:
                if answer.status == HTTPStatus.CONFLICT:
                    raise LeaseConflict(f"the Lease {self._name} was changed meanwhile")
                if answer.status != HTTPStatus.OK:
                    raise LeaseError(f"the API server answers {answer.status} about the Lease {self._name}")
                found = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise LeaseError(
                f"the API server does not answer about the Lease {self._name}: {type(error).__name__}"
            ) from error
        if not isinstance(found, dict) or not isinstance(found.get("spec"), dict):
            raise LeaseError(f"the Lease {self._name} has no spec")
        return found
