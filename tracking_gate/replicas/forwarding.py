"""Changes that a replica forwards to the holder of the Lease, and the holder's check of the forwarding replica.

The holder decides anew from the caller's own credential. It believes the other replica in one thing: the address from
which the client's request came, which limits count.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from http import HTTPMethod
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tracking_gate.errors import Forbidden, NoLeader, Unavailable
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.registry_cache import Invalidates
from tracking_gate.mlflow_api.upstream import HOP_BY_HOP, TIMEOUT, Upstream
from tracking_gate.policy.routes import ObjectKey, Route, RouteAccess
from tracking_gate.replicas.election import NO_LEADER, Election

REPLICA: Final = "X-Gate-Replica"  # identity and key of the replica that forwards
CLIENT: Final = "X-Gate-Client"  # the address from which it got the request
NOT_FORWARDED: Final = frozenset({"expect", REPLICA.lower(), CLIENT.lower()})
NO_ANSWER: Final = "the replica that makes changes does not answer; try again"


def is_change(route: Route, method: str) -> bool:
    """Return True for a request that only the holder of the Lease makes.

    An upload is a stream, which each replica forwards; only the holder refuses one whose version is promoted meanwhile.
    """
    match route.access:
        case RouteAccess.GUARDED:
            return route.operation is not None and route.operation.invalidates is not Invalidates.NOTHING
        case RouteAccess.CHANGE:
            return True
        case RouteAccess.WRITE:
            return method == HTTPMethod.DELETE or route.object_key is ObjectKey.UPLOAD
        case _:
            return False


class LeaderConnection(Upstream):
    """The replica that holds the Lease, which gets a request as the client has sent it."""

    def __init__(self, address: str, metrics: Metrics, proof: str, seconds: float) -> None:
        """`seconds` without a byte of the answer end a request: a replica that is silent so long has lost its Lease."""
        limited = aiohttp.ClientTimeout(total=None, connect=TIMEOUT.connect, sock_read=seconds)
        super().__init__(address, metrics, timeout=limited)
        self._proof = proof

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        named = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
        left_out = HOP_BY_HOP | NOT_FORWARDED | named
        kept = [(name, value) for name, value in request.headers.items() if name.lower() not in left_out]
        return CIMultiDict([*kept, (REPLICA, self._proof), (CLIENT, request.remote or "unknown")])


class Forwarding:
    """Forwards changes; an asynchronous context manager."""

    def __init__(self, election: Election, metrics: Metrics) -> None:
        self._election = election
        self._metrics = metrics
        self._stack = AsyncExitStack()
        self._connections: dict[str, LeaderConnection] = {}

    async def __aenter__(self) -> "Forwarding":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def forward(self, request: web.BaseRequest, pause: float) -> web.StreamResponse:
        """Return the holder's answer. Raises NoLeader if there is none, or as `Upstream.stream`."""
        address = self._election.leader
        if address is None:
            raise NoLeader(NO_LEADER)
        connection = await self._connection(address)
        try:
            response = await connection.stream(request, request.raw_path, pause=pause)
        except Unavailable as error:
            self._metrics.forwarded("unanswered")
            raise NoLeader(NO_ANSWER) from error
        self._metrics.forwarded("answered")
        return response

    async def accepted(self, request: web.BaseRequest) -> web.BaseRequest:
        """Return a request that another replica forwards, with the client's address. Raises Forbidden, NoLeader."""
        identity, _, key = request.headers[REPLICA].partition(":")
        if not await self._election.knows(identity, key):
            raise Forbidden(f"{REPLICA} is for replicas of the gate; leave it out")
        headers = request.headers
        kept = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in NOT_FORWARDED)
        return request.clone(headers=kept, remote=headers.get(CLIENT, "unknown"))

    async def _connection(self, address: str) -> LeaderConnection:
        if address not in self._connections:
            me = self._election.me
            self._connections[address] = await self._stack.enter_async_context(
                LeaderConnection(address, self._metrics, f"{me.identity}:{me.key}", self._election.seconds)
            )
        return self._connections[address]


def forwarder_of(headers: Mapping[str, str]) -> str | None:
    """Return the identity of the replica that forwards, None for a request of a client."""
    return headers[REPLICA].partition(":")[0] if REPLICA in headers else None
