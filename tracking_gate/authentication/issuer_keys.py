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
from tracking_gate.authentication.shared_work import SharedWork
from tracking_gate.errors import Unavailable
from tracking_gate.metrics import Metrics

FRESH_SECONDS: Final = 300.0  # seconds, after which the keys are fetched anew: one that was withdrawn is then refused
PAUSE_SECONDS: Final = 5.0  # seconds at least between the beginnings of two fetches, however many keys are unknown
MAX_KEYS: Final = 100  # of an issuer; to import 600 takes the event loop 46 ms
# Bits of a modulus; joserfc reads a signature of 1,024 characters, which is one of 6,144 bits.
MODULUS_BITS: Final = range(2048, 6144 + 1)
MODULUS_CHARACTERS: Final = 1024  # in base64url, of the longest modulus
PUBLIC_MEMBERS: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
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
        self._fetches: SharedWork[str, None] = SharedWork()

    async def find(self, key_id: str) -> Key | None:
        """Return the key, None if the issuer has none of that id. Raises Unavailable if the issuer cannot say."""
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
        return self._fetches.begin(self._source.issuer, self._fetch_when_due)

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
        """Return the keys that the issuer publishes. Raises DocumentError."""
        document = await self._documents.get(self._source.keys or await self._discovered(), self._source.access) or {}
        listed = document.get("keys")
        if isinstance(listed, list) and len(listed) > MAX_KEYS:
            raise DocumentError(f"it has more than {MAX_KEYS} keys")
        if not (keys := usable_keys(listed)):
            raise DocumentError("it has no key that can be used")
        return keys

    async def _discovered(self) -> str:
        """Return the address of the keys, as the issuer's discovery document names it. Raises DocumentError."""
        found = await self._documents.get(self._source.issuer.rstrip("/") + DISCOVERY, self._source.access) or {}
        if found.get("issuer") != self._source.issuer:
            raise DocumentError("its discovery document names another issuer")
        if not isinstance(address := found.get("jwks_uri"), str):
            raise DocumentError("its discovery document names no keys")
        return address


def usable_keys(listed: Any) -> Mapping[str, Key]:
    """Return the keys of a JWK Set that can verify RS256 or ES256, by their ids, without any private part."""
    found: dict[str, Key] = {}
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and _is_for_signatures(entry):
            public = {name: entry[name] for name in PUBLIC_MEMBERS if isinstance(entry.get(name), str)}
            if key := _imported(public):
                found.setdefault(public["kid"], key)
    return found


def _is_for_signatures(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _imported(public: dict[str, str]) -> Key | None:
    try:
        if public.get("kty") == "RSA" and len(public.get("n", "")) <= MODULUS_CHARACTERS:
            key = RSAKey.import_key(dict(public))
            # Counted from the number itself, because a short modulus may be written with leading zeros.
            return key if key.public_key.key_size in MODULUS_BITS else None
        if public.get("kty") == "EC" and public.get("crv") == "P-256":
            return ECKey.import_key(dict(public))
    except (JoseError, ValueError, TypeError, KeyError):
        pass
    return None
