"""The election of the replica that makes changes, by a Lease of the Kubernetes API.

A Lease has no fencing: a replica that was frozen may wake up after another one has taken its Lease. So the holder
compares a clock before each change, and begins none whose time limit ends after the Lease. MLflow may still end a
change of the former holder within that limit, so a replica that takes the Lease waits for the limit once more. Then it
asks MLflow what became of the moves that the former holder had begun.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tracking_gate.audit import AuditError
from tracking_gate.errors import NoLeader, Refusal
from tracking_gate.metrics import Metrics
from tracking_gate.replicas.lease import LeaseClient, LeaseConflict, LeaseError
from tracking_gate.replicas.lease_state import MAX_UNFINISHED, LeaseState, Replica

Json = dict[str, Any]

CHANGE_PART: Final = 0.5  # of the Lease's duration: the time limit of one change
LOOKS_PER_DURATION: Final = 10  # looks at the Lease, or renewals, in its duration
REQUEST_PART: Final = 0.25  # of the Lease's duration: the time limit of one request to the API server
READ_AGAIN_SECONDS: Final = 1.0  # between two reads of the Lease for a replica that is not known
NO_LEADER: Final = "no replica of the gate makes changes at the moment; try again"
LEASE_ENDS: Final = "the replica was about to lose its Lease, and has not sent the change to MLflow; try again"
TOO_MANY_MOVES: Final = "the gate makes as many moves at once as it can; try again"
LEASE_NOT_WRITTEN: Final = "the Lease cannot be written, so the move was not sent to MLflow; try again"

_log = logging.getLogger(__name__)


def now() -> float:
    """Return the seconds of a clock that is never set and that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Election:
    """Holds the Lease, or waits for it. `limit` is the number of seconds that one change may take."""

    def __init__(self, client: LeaseClient, me: Replica, seconds: int, metrics: Metrics) -> None:
        """`seconds` is the duration of the Lease without a renewal."""
        self.me = me
        self.limit = seconds * CHANGE_PART
        self._client = client
        self.seconds = seconds
        self._metrics = metrics
        self._state: LeaseState | None = None
        self._seen_at = 0.0  # when the Lease was first seen as it is
        self._held_until = 0.0
        self._settled_at: float | None = None  # the end of the wait for changes of the former holder
        self._leads = False
        self._ends = False
        self._changes = 0
        self._unclear_until = 0.0
        self._read_again_at = 0.0
        self._unfinished: dict[str, Json] = {}
        self._writing = asyncio.Lock()

    @property
    def leads(self) -> bool:
        """True if this replica may begin a change now."""
        return self._leads and now() + self.limit <= self._held_until

    @property
    def term(self) -> int:
        """The number of times that the Lease was taken, as this replica saw it last."""
        return self._state.term if self._state else 0

    @property
    def leader(self) -> str | None:
        """The address of another replica that holds the Lease; None without one, or if it cannot know this replica.

        The holder refuses a change from a replica that is not registered in the Lease: any client could have sent it.
        """
        state = self._state
        if state is None or state.holder in {"", self.me.identity} or now() > self._seen_at + state.seconds:
            return None
        return state.address_of(state.holder) if state.knows(self.me.identity, self.me.key) else None

    def check(self) -> None:
        """Raise NoLeader if this replica may begin no change."""
        if not self.leads:
            raise NoLeader(LEASE_ENDS)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Count a change that is sent in the block, so that the Lease is not given back before it has ended."""
        self.check()
        self._changes += 1
        try:
            yield
        finally:
            self._changes -= 1

    def note_unclear(self) -> None:
        """Note a change without an answer: the Lease is kept for as long as MLflow may still make the change."""
        self._unclear_until = now() + self.limit

    async def begin(self, move: Json) -> None:
        """Write a move into the Lease before it is sent, for a replica that takes over. Raises NoLeader."""
        if len(self._unfinished) >= MAX_UNFINISHED:
            raise NoLeader(TOO_MANY_MOVES)
        async with self._writing:
            self.check()
            self._unfinished[move["request_id"]] = move
            try:
                await self._renew()
            except LeaseError as error:
                self._note(error)
                self._unfinished.pop(move["request_id"], None)
                raise NoLeader(LEASE_NOT_WRITTEN) from error

    def end(self, request_id: str) -> None:
        """Forget a move that has ended and is recorded; the next renewal takes it out of the Lease."""
        self._unfinished.pop(request_id, None)

    async def knows(self, identity: str, key: str) -> bool:
        """Return True if a replica has this identity and key; a new one is looked up in the Lease. Raises NoLeader."""
        if self._state and self._state.knows(identity, key):
            return True
        if now() < self._read_again_at:  # any client can send a key
            raise NoLeader(NO_LEADER)
        self._read_again_at = now() + READ_AGAIN_SECONDS
        try:
            self._observe(LeaseState(document=await self._client.read()))
        except LeaseError as error:
            self._note(error)
            raise NoLeader(NO_LEADER) from error
        return self._state is not None and self._state.knows(identity, key)

    async def run(self, recover: Callable[[Json], Awaitable[None]]) -> None:
        """Renew the Lease, or take it as soon as it is free, until cancelled.

        `recover` asks MLflow what became of a move of the former holder, and records it. It raises Refusal, AuditError.
        """
        while True:
            try:
                await self._turn(recover)
            except LeaseError as error:
                self._note(error)
            except Exception:  # noqa: BLE001  a Lease that nothing renews is one that no replica holds
                _log.exception("the election failed; it goes on")
            self._metrics.leads(self.leads)
            await asyncio.sleep(self.seconds / LOOKS_PER_DURATION)

    async def release(self) -> None:
        """Begin no more changes, wait for those under way, and give the Lease back, so that another takes it at once.

        A Lease that cannot be given back ends by itself.
        """
        self._leads, self._ends = False, True
        self._metrics.leads(False)
        ends = now() + self.limit
        while now() < ends and (self._changes or self._unfinished or now() < self._unclear_until):
            await asyncio.sleep(0.05)
        async with self._writing:
            if not self._holds or self._changes or self._unfinished or not self._state:
                return
            try:
                await self._replace(lambda state: state.released(self.me))
            except LeaseError as error:
                self._note(error)
            self._step_down()

    @property
    def _holds(self) -> bool:
        return self._held_until > 0

    async def _turn(self, recover: Callable[[Json], Awaitable[None]]) -> None:
        async with self._writing:
            if self._holds:
                await self._renew()
            else:
                await self._look()
        if self._holds and not self._leads and not self._ends:
            await self._settle(recover)

    async def _renew(self) -> None:
        """Write the Lease anew. Raises as `_replace`."""
        begun = now()
        await self._replace(lambda state: state.renewed(self.me, self._unfinished))
        self._held_until = begun + self.seconds

    async def _replace(self, change: Callable[[LeaseState], LeaseState]) -> None:
        """Write the Lease that this replica holds, once more if another replica has registered in it.

        Raises LeaseError; LeaseConflict after stepping down if another replica holds it.
        """
        assert self._state is not None  # noqa: S101  it was taken
        for _ in range(2):
            try:
                stored = await self._client.replace(change(self._state).document)
            except LeaseConflict:
                self._observe(LeaseState(document=await self._client.read()))
                if self._state.holder != self.me.identity:
                    self._step_down()
                    raise
                continue
            self._observe(LeaseState(document=stored))
            return
        raise LeaseError("the Lease changes faster than it can be written")

    async def _look(self) -> None:
        found = LeaseState(document=await self._client.read())
        self._observe(found)
        if self._ends:
            return
        free = found.holder in {"", self.me.identity}
        if free or now() > self._seen_at + max(found.seconds, self.seconds):
            await self._take(found)
        elif not found.has_registered(self.me):
            self._observe(LeaseState(document=await self._client.replace(found.registered(self.me).document)))

    async def _take(self, found: LeaseState) -> None:
        begun = now()
        stored = LeaseState(document=await self._client.replace(found.taken(self.me, self.seconds).document))
        self._observe(stored)
        self._held_until = begun + self.seconds
        # A Lease that was given back has no changes under way; of another holder, the last one began before its end.
        self._settled_at = now() + (found.seconds * CHANGE_PART if found.holder else 0)
        self._unfinished = stored.unfinished
        _log.info("this replica holds the Lease", extra={"fields": {"replica": self.me.identity, "term": stored.term}})

    async def _settle(self, recover: Callable[[Json], Awaitable[None]]) -> None:
        """Begin to make changes, after those of the former holder have ended and its moves are recorded."""
        if self._settled_at is None or now() < self._settled_at:
            return
        try:
            for request_id, move in list(self._unfinished.items()):
                async with asyncio.timeout(self.seconds * REQUEST_PART):
                    await recover(move)
                self.end(request_id)
        except (Refusal, AuditError, TimeoutError) as error:
            _log.warning("moves of the former holder are not known yet", extra={"fields": {"reason": str(error)}})
            return
        self._leads = True

    def _observe(self, state: LeaseState) -> None:
        if self._state is None or self._state.renewal != state.renewal:
            self._seen_at = now()
        self._state = state

    def _step_down(self) -> None:
        if self._leads:
            _log.warning("this replica has lost the Lease", extra={"fields": {"replica": self.me.identity}})
        self._leads, self._held_until, self._settled_at, self._unfinished = False, 0.0, None, {}

    def _note(self, error: LeaseError) -> None:
        self._metrics.lease_failed()
        _log.warning("the Lease cannot be kept", extra={"fields": {"reason": str(error)}})
