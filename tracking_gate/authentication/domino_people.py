"""People of Domino: Domino names the person of a credential, and the answer is kept for a minute.

Routes are those of python-domino 2.2: `GET /v4/users/self`, and `GET /v4/gateway/projects` for `Owned` and
`Collaborating`, the only two relationships that every Domino 6 knows.
"""

import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Self

import aiohttp

from model_contract.names import PROJECT_ID_PATTERN
from model_contract.secret import Secret
from model_contract.tokens import TOKEN_PREFIX
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.people import PresentedCredential
from tracking_gate.authentication.shared_work import SharedWork
from tracking_gate.errors import Unavailable
from tracking_gate.metrics import Metrics

API_KEY: Final = "X-Domino-Api-Key"
KEEP_SECONDS: Final = 60.0  # also a refusal
MAX_KEPT: Final = 4096  # answers; the least recently used one goes first
# Seconds in which no limit on attempts applies to a credential that Domino has accepted.
ACCEPTED_SECONDS: Final = 24 * 3600.0
MAX_CREDENTIAL: Final = 4096  # bytes of a credential
TIMEOUT: Final = aiohttp.ClientTimeout(total=5, connect=2)  # for each request; a client of MLflow waits 120 s
MEMBER: Final = frozenset({"Owned", "Collaborating", "OwnedAndCollaborating"})
# Domino does not know the credential: it refuses, or redirects to its login.
UNKNOWN: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DominoCredential:
    """A header that a client would send to Domino itself."""

    header: str
    value: Secret

    @property
    def digest(self) -> bytes:
        """The key of the remembered answer, from which the credential cannot be read."""
        return hashlib.sha256(f"{self.header}\0{self.value.reveal()}".encode()).digest()


class DominoPeople:
    """Identifies people by requests to Domino; an asynchronous context manager.

    `admins` are the names of the gate's admins; admins of Domino have no rights here.
    """

    challenge = ""
    header = API_KEY

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        *,
        admins: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._metrics = metrics
        self._admins = admins
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[float, Actor | None]] = OrderedDict()
        self._accepted: OrderedDict[bytes, float] = OrderedDict()  # until when
        self._requests: SharedWork[bytes, Actor | None] = SharedWork()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def presented(self, headers: Mapping[str, str]) -> PresentedCredential | None:
        credential = credential_of(headers)
        if credential is None:
            return None
        key = credential.digest
        return PresentedCredential(digest=key, accepted=self._accepted.get(key, 0.0) > self._clock())

    async def find(self, headers: Mapping[str, str]) -> Actor | None:
        credential = credential_of(headers)
        if credential is None:
            return None
        key = credential.digest
        kept = self._answers.get(key)
        if kept and kept[0] > self._clock():
            self._answers.move_to_end(key)
            return kept[1]
        # A page sends twenty requests at once: they share one request to Domino, and one wait if it does not answer.
        return await self._requests.result(key, partial(self._kept, key, credential))

    async def _kept(self, key: bytes, credential: DominoCredential) -> Actor | None:
        """Return Domino's answer, and keep it. Raises Unavailable, which is not kept."""
        actor = await self._checked(credential)
        self._answers[key] = (self._clock() + KEEP_SECONDS, actor)
        self._answers.move_to_end(key)
        while len(self._answers) > MAX_KEPT:
            self._answers.popitem(last=False)
        self._accepted.pop(key, None)
        if actor:
            self._accepted[key] = self._clock() + ACCEPTED_SECONDS
        while len(self._accepted) > MAX_KEPT:
            self._accepted.popitem(last=False)
        return actor

    async def _checked(self, credential: DominoCredential) -> Actor | None:
        """Return Domino's answer, and count it. Raises Unavailable."""
        try:
            actor = await self._identified(credential)
        except Unavailable:
            self._metrics.checked("unclear")
            raise
        self._metrics.checked("known" if actor else "nobody")
        return actor

    async def _identified(self, credential: DominoCredential) -> Actor | None:
        """Return the person with the projects of Domino, None if Domino does not know them. Raises Unavailable."""
        user = await self._get("/v4/users/self", credential)
        if user is None:
            return None
        if not isinstance(user, dict) or not isinstance(name := user.get("userName"), str) or not name:
            raise unclear("/v4/users/self")
        owned = await self._projects("Owned", credential)
        collaborating = await self._projects("Collaborating", credential)
        kind = ActorKind.ADMIN if name in self._admins else ActorKind.PERSON
        return Actor(kind=kind, name=name, projects=owned | collaborating)

    async def _projects(self, relationship: str, credential: DominoCredential) -> frozenset[str]:
        path = f"/v4/gateway/projects?relationship={relationship}&showCompleted=false"
        found = await self._get(path, credential)
        if not isinstance(found, list) or not all(isinstance(project, dict) for project in found):
            raise unclear(path)
        ids = {
            str(project.get("id", "")).lower()
            for project in found
            if project.get("relationship", relationship) in MEMBER
        }
        return frozenset(one for one in ids if re.fullmatch(PROJECT_ID_PATTERN, one))

    async def _get(self, path: str, credential: DominoCredential) -> Any:
        """Return Domino's answer, None if Domino does not know the credential. Raises Unavailable."""
        headers = {credential.header: credential.value.reveal(), "Accept": "application/json"}
        try:
            async with self._session.get(self._url + path, headers=headers, allow_redirects=False) as answer:
                if answer.status in UNKNOWN:
                    return None
                if answer.status != HTTPStatus.OK:
                    raise unclear(path, f"status {answer.status}")
                return await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            # The text of the library's error may contain the request.
            raise unclear(path, type(error).__name__) from None


def credential_of(headers: Mapping[str, str]) -> DominoCredential | None:
    """Return the API key, else the access token, in Domino's order; a service token is never sent to Domino."""
    for header, value in ((API_KEY, headers.get(API_KEY, "")), ("Authorization", headers.get("Authorization", ""))):
        scheme, _, token = value.partition(" ")
        bare = value if header == API_KEY else token if scheme.lower() == "bearer" else ""
        if (
            bare.strip()
            and len(value) <= MAX_CREDENTIAL
            and value.isascii()
            and value.isprintable()
            and not bare.strip().startswith(TOKEN_PREFIX)
        ):
            return DominoCredential(header=header, value=Secret(value.strip()))
    return None


def unclear(path: str, what: str = "another answer than Domino 6 gives") -> Unavailable:
    """Log the reason for the admin, and return the error that asks the client to retry."""
    _log.warning(
        "Domino cannot say who a person is", extra={"fields": {"path": path.partition("?")[0], "reason": what}}
    )
    return Unavailable("Domino cannot say now who you are")
