"""The published keys of an issuer: kept, fetched anew when they are old or when a token names another key."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from tracking_gate.authentication.documents import DocumentError, Documents
from tracking_gate.authentication.issuers_file import KeySource
from tracking_gate.errors import Unavailable
from tracking_gate.metrics import Metrics

FRESH_SECONDS: Final = 300.0  # seconds, after which the keys are fetched anew: one that was withdrawn is then refused
PAUSE_SECONDS: Final = 5.0  # seconds at least between the beginnings of two fetches, however many keys are unknown
# Characters of a modulus in base64url: 2,048 to 8,192 bits.
MODULUS_CHARACTERS: Final = range(342, 1367)
MEMBERS: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")  # the public ones
DISCOVERY: Final = "/.well-known/openid-configuration"

Key = RSAKey | ECKey

_log = logging.getLogger(__name__)


class IssuerKeys:
    """The keys of one issuer, by their ids. If the issuer does not answer, the last keys are kept."""

    def __init__(
        self,
        source: KeySource,
        documents: Documents,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._source = source
        self._documents = documents
        self._metrics = metrics
        self._clock = clock
        self._pause = pause
        self._keys: Mapping[str, Key] | None = None
        self._began = float("-inf")  # of the last fetch
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> Key | None:
        """Return the key, None if the issuer has none of that id. Raise Unavailable if the issuer cannot say."""
        asked = self._clock()
        if self._keys is None or asked - self._began > FRESH_SECONDS:
            fetching = self._fetch()
            if self._keys is None or not self._failed:  # no request waits twice for an issuer that is away
                await asyncio.shield(fetching)
        if self._keys and key_id in self._keys:
            return self._keys[key_id]
        if self._began < asked:  # the issuer may have a new key since the last fetch
            await asyncio.shield(self._fetch())
        if self._keys and key_id in self._keys:
            return self._keys[key_id]
        if self._failed:
            raise Unavailable("the issuer of your token does not publish its keys now")
        return None

    def _fetch(self) -> "asyncio.Task[None]":
        """Return the fetch that is under way or due, which all requests share."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_when_due())
            self._fetching.add_done_callback(self._end_fetch)
        return self._fetching

    def _end_fetch(self, done: "asyncio.Task[None]") -> None:
        self._fetching = None
        if not done.cancelled():
            done.exception()  # its client may have hung up, and the loop would complain

    async def _fetch_when_due(self) -> None:
        await asyncio.sleep(max(0.0, self._began + self._pause - self._clock()))
        self._began = self._clock()
        try:
            self._keys, self._failed = await self._published(), False
            self._metrics.keys_fetched("read")
        except DocumentError as error:
            self._failed = True
            self._metrics.keys_fetched("failed")
            _log.warning(
                "the keys of an issuer cannot be read",
                extra={"fields": {"issuer": self._source.issuer, "reason": str(error)}},
            )

    async def _published(self) -> Mapping[str, Key]:
        """Return the keys that the issuer publishes. Raise DocumentError."""
        document = await self._documents.get(self._source.keys or await self._discovered(), self._source.access)
        if not (keys := usable_keys(document or {})):
            raise DocumentError("it has no key that can be used")
        return keys

    async def _discovered(self) -> str:
        """Return the address of the keys, as the issuer's discovery document names it. Raise DocumentError."""
        found = await self._documents.get(self._source.issuer.rstrip("/") + DISCOVERY, self._source.access) or {}
        if found.get("issuer") != self._source.issuer:
            raise DocumentError("its discovery document names another issuer")
        if not isinstance(address := found.get("jwks_uri"), str):
            raise DocumentError("its discovery document names no keys")
        return address


def usable_keys(document: Mapping[str, Any]) -> Mapping[str, Key]:
    """Return the keys of a JWK Set that can verify RS256 or ES256, by their ids, without any private part."""
    found: dict[str, Key] = {}
    listed = document.get("keys")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and entry.get("use", "sig") == "sig":
            public = {name: entry[name] for name in MEMBERS if isinstance(entry.get(name), str)}
            if key := _imported(public):
                found.setdefault(public["kid"], key)
    return found


def _imported(public: dict[str, str]) -> Key | None:
    try:
        if public.get("kty") == "RSA" and len(public.get("n", "")) in MODULUS_CHARACTERS:
            return RSAKey.import_key(dict(public))
        if public.get("kty") == "EC" and public.get("crv") == "P-256":
            return ECKey.import_key(dict(public))
    except (JoseError, ValueError, TypeError, KeyError):
        pass
    return None
