"""Who is behind a request: a service token, or a person."""

from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from multidict import CIMultiDictProxy

from tracking_gate.actors import Actor, kind_of
from tracking_gate.errors import InvalidRequest, TooManyAttempts, Unauthenticated, Unavailable
from tracking_gate.people import People
from tracking_gate.secret_directory import SecretDirectory

LONGEST_HEADER: Final = 4096  # bytes of an Authorization header
ATTEMPTS: Final = 10  # that fail, of one address, in a period
PERIOD: Final = 60.0  # seconds
ADDRESSES: Final = 10_000  # remembered at most
NOT_ACCEPTED: Final = "token not accepted"  # for every reason: which one it was would help only who guesses
MISSING: Final = "send the token of your project as MLFLOW_TRACKING_TOKEN"


class Callers:
    """Finds them, and slows down who guesses."""

    def __init__(self, directory: SecretDirectory, people: People, clock: Callable[[], float], *, attempts: int = ATTEMPTS) -> None:
        self._attempts = attempts
        self._directory = directory
        self._people = people
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    async def find(self, headers: CIMultiDictProxy[str], peer: str) -> Actor:
        """Raises InvalidRequest, Unauthenticated, TooManyAttempts, Unavailable."""
        given = headers.getall("Authorization", [])
        if len(given) > 1 or any(len(value.encode()) > LONGEST_HEADER for value in given):
            raise InvalidRequest("one Authorization header of at most 4 KiB, please")
        scheme, _, value = (given[0] if given else "").partition(" ")
        if scheme.lower() == "bearer" and (actor := self._token(value.strip())):
            return actor
        if person := await self._people.find(headers):
            return person
        if not value.strip() and self._people.header not in headers:
            raise Unauthenticated(MISSING)
        self._failed(peer)
        raise Unauthenticated(NOT_ACCEPTED)

    @property
    def challenges(self) -> list[str]:
        """What a client may authenticate with, for WWW-Authenticate."""
        return [challenge for challenge in ('Bearer realm="mlflow-gate"', self._people.challenge) if challenge]

    def _token(self, value: str) -> Actor | None:
        tokens = self._directory.tokens()
        if tokens is None:
            raise Unavailable("the gate has no tokens yet")
        known = tokens.find(value, datetime.now(UTC))
        if known is None:
            return None
        project = known.key.project_id
        return Actor(kind=kind_of(known.key.purpose), name=known.fingerprint, projects=frozenset({project}), fingerprint=known.fingerprint)

    def _failed(self, peer: str) -> None:
        now = self._clock()
        failures = self._failures.setdefault(peer, deque())
        self._failures.move_to_end(peer)
        while failures and failures[0] <= now - PERIOD:
            failures.popleft()
        failures.append(now)
        while len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)
        if len(failures) > self._attempts:
            failures.popleft()
            raise TooManyAttempts("too many tokens that are not accepted; wait a minute")
