"""Documents of JSON that the gate fetches to check a token: by https, without redirects, with limits."""

import asyncio
import json
import ssl
from http import HTTPStatus
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from model_contract.secret import Secret
from tracking_gate.authentication.issuers_file import Access
from tracking_gate.authentication.strict_json import unique_keys

SECONDS: Final = 5.0  # seconds for all of a document, however slowly it comes
MAX_DOCUMENT: Final = 256 * 1024  # bytes: a hundred keys with their certificates, or a pod


class DocumentError(Exception):
    """A document cannot be fetched; the message has nothing of an answer's body."""


class Documents:
    """Fetches documents, each within `seconds`; an asynchronous context manager."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._timeout = aiohttp.ClientTimeout(total=seconds)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, url: str, access: Access) -> dict[str, Any] | None:
        """Return a document, None if there is none. Raises DocumentError."""
        if not url.startswith("https://"):
            raise DocumentError("its address does not begin with https://")
        try:
            # Not application/json, for which the Kubernetes API refuses to send its keys: their type is another one.
            headers = {"Accept": "*/*", "Accept-Encoding": "identity", **_authorization(url, access)}
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=access.ca_file)
            async with self._session.get(url, headers=headers, ssl=tls, allow_redirects=False) as answer:
                if answer.status == HTTPStatus.NOT_FOUND:
                    return None
                if answer.status != HTTPStatus.OK:
                    raise DocumentError(f"status {answer.status}")
                return _parsed(await _body(answer))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # The text of the library's error may contain the request.
            raise DocumentError(type(error).__name__) from None


def parsed_json(text: bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, also for NaN, a key that stands twice, and deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_keys)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _authorization(url: str, access: Access) -> dict[str, str]:
    """Return the header with the token, for the API alone. Raises OSError, ValueError.

    The token is read each time: the kubelet replaces it.
    """
    if access.token_file is None or access.api is None or URL(url).origin() != URL(access.api).origin():
        return {}
    return {"Authorization": f"Bearer {Secret.from_file(access.token_file).reveal()}"}


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_DOCUMENT:
            raise DocumentError(f"longer than {MAX_DOCUMENT} bytes")
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    document = parsed_json(body)
    if not isinstance(document, dict):
        raise DocumentError("it is not a JSON object")
    return document
