"""The authenticator: finds the actor of a request by a service token, an issuer's token, or a person's credentials."""

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from multidict import CIMultiDictProxy

from tracking_gate.actors import Actor, actor_kind_of
from tracking_gate.authentication.attempt_limits import AttemptLimits
from tracking_gate.authentication.issuer_tokens import IssuerTokens
from tracking_gate.authentication.people import PeopleSource, PresentedCredential
from tracking_gate.authentication.proxied_people import ProxiedPeople
from tracking_gate.authentication.shared_work import SharedWork
from tracking_gate.errors import InvalidRequest, Unauthenticated, Unavailable
from tracking_gate.secret_directory import SecretDirectory

MAX_HEADER: Final = 4096  # bytes of an Authorization header
MAX_ATTEMPTS: Final = 10  # that fail, of one address, in a period
NAME_FACTOR: Final = 10  # times as many for one name, from all addresses
NOT_ACCEPTED: Final = "token not accepted"  # for every reason, so that an attacker does not learn which
MISSING: Final = "send the token of your project as MLFLOW_TRACKING_TOKEN"


class Authenticator:
    """Authenticates callers, and limits attempts that fail.

    Three kinds of attempts have no limit: service tokens and valid tokens of an issuer, which are checked in memory,
    and credentials that were accepted before. Every other attempt counts against its address, separately for each
    person's name, and against that name from all addresses.
    """

    def __init__(  # noqa: PLR0913  the sources of callers, of which some may be missing
        self,
        directory: SecretDirectory,
        people: PeopleSource,
        clock: Callable[[], float],
        *,
        attempts: int = MAX_ATTEMPTS,
        issuers: IssuerTokens | None = None,
        proxied: ProxiedPeople | None = None,
    ) -> None:
        self._limit = attempts
        self._directory = directory
        self._people = people
        self._issuers = issuers
        self._proxied = proxied
        self._attempts = AttemptLimits(clock)
        self._checks: SharedWork[tuple[str, bytes], Actor] = SharedWork()

    async def authenticate(self, headers: CIMultiDictProxy[str], peer: str, sender: str | None = None) -> Actor:
        """Return the actor; `sender` is the address of the connection, perhaps that of a proxy in front of the peer.

        Raises InvalidRequest, Unauthenticated, TooManyAttempts, Busy, Unavailable.
        """
        given = headers.getall("Authorization", [])
        if len(given) > 1 or any(len(value.encode()) > MAX_HEADER for value in given):
            raise InvalidRequest("send one Authorization header of at most 4 KiB")
        if len(headers.getall(self._people.header, [])) > 1:  # a proxy in front has added its own to a client's
            raise InvalidRequest(f"send one {self._people.header} header")
        scheme, _, value = (given[0] if given else "").partition(" ")
        if scheme.lower() == "bearer" and (actor := self._token(value.strip())):
            return actor
        if self._issuers and scheme.lower() == "bearer" and (token := self._issuers.presented(value.strip())):
            # A token of an issuer goes nowhere else: Domino does not get it.
            return await self._issuers.find(token) or await self._attempt(headers, peer, None)
        if self._proxied and (person := self._proxied.find(headers, sender)):
            return person
        presented = self._people.presented(headers)
        if presented and presented.accepted and (person := await self._people.find(headers)):
            return person
        if not value.strip() and self._people.header not in headers:
            raise Unauthenticated(MISSING)
        return await self._checked(headers, peer, presented)

    @property
    def challenges(self) -> list[str]:
        """The values of WWW-Authenticate."""
        return [challenge for challenge in ('Bearer realm="mlflow-gate"', self._people.challenge) if challenge]

    def _token(self, value: str) -> Actor | None:
        tokens = self._directory.tokens()
        if tokens is None:
            raise Unavailable("the gate has not read its tokens yet; try again")
        known = tokens.find(value, datetime.now(UTC))
        if known is None:
            return None
        project = known.key.project_id
        return Actor(
            kind=actor_kind_of(known.key.purpose),
            name=known.fingerprint,
            projects=frozenset({project}),
        )

    async def _checked(self, headers: CIMultiDictProxy[str], peer: str, presented: PresentedCredential | None) -> Actor:
        """Check credentials once for all requests that send them at the same time: a page sends twenty."""
        if presented is None:
            return await self._attempt(headers, peer, None)
        return await self._checks.result((peer, presented.digest), partial(self._attempt, headers, peer, presented))

    async def _attempt(self, headers: CIMultiDictProxy[str], peer: str, presented: PresentedCredential | None) -> Actor:
        limits = limits_of(peer, presented.name if presented else None, self._limit)
        await self._attempts.begin(limits)
        failed = False
        try:
            person = await self._people.find(headers) if presented else None
            failed = person is None
        finally:
            self._attempts.end(limits, failed=failed)
        if person is None:
            raise Unauthenticated(NOT_ACCEPTED)
        return person


def limits_of(peer: str, name: str | None, limit: int) -> dict[Hashable, int]:
    """Return the most failures for the address with that name, and for the name from all addresses."""
    if name is None:
        return {("address", peer): limit}
    return {("address", peer, name): limit, ("name", name): limit * NAME_FACTOR}
