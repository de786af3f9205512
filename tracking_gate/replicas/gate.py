"""The gate as one of several replicas: a change is made by the replica that holds the Lease."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from yarl import URL

from tracking_gate.authentication.authenticator import Authenticator
from tracking_gate.errors import NoLeader
from tracking_gate.gate.handler import Gate, GateSettings
from tracking_gate.gate.request_context import RequestContext
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.registry import Registry
from tracking_gate.policy.routes import Route
from tracking_gate.replicas.election import NO_LEADER, REQUEST_PART, Election
from tracking_gate.replicas.fencing import FencedUpstream, ReplicaAuditLog
from tracking_gate.replicas.forwarding import Forwarding, forwarder_of, is_change
from tracking_gate.replicas.lease import LeaseClient
from tracking_gate.replicas.lease_state import new_replica
from tracking_gate.replicas.recovery import read_back
from tracking_gate.settings import ServeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaParts:
    """The parts that know about the Lease."""

    election: Election
    forwarding: Forwarding
    upstream: FencedUpstream
    audit: ReplicaAuditLog


class ReplicaGate(Gate):
    """Handles requests, and forwards changes if another replica holds the Lease."""

    def __init__(
        self, *, parts: ReplicaParts, authenticator: Authenticator, metrics: Metrics, settings: GateSettings
    ) -> None:
        super().__init__(
            authenticator=authenticator, upstream=parts.upstream, audit=parts.audit, metrics=metrics, settings=settings
        )
        self._election = parts.election
        self._forwarding = parts.forwarding
        self._registry = Registry(parts.upstream.ask)
        self._audit = parts.audit
        self._running: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self._running = asyncio.create_task(self._election.run(self._recover))

    async def hand_over(self) -> None:
        await self._election.release()

    async def finish(self) -> None:
        await super().finish()
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _handle(self, context: RequestContext) -> web.StreamResponse:
        if (forwarder := forwarder_of(context.request.headers)) is not None:
            context.request = await self._forwarding.accepted(context.request)
            context.forwarded_by = forwarder
        return await super()._handle(context)

    async def _answer(self, context: RequestContext, route: Route) -> web.StreamResponse:
        if self._election.leads or not is_change(route, context.request.method):
            return await super()._answer(context, route)
        if context.forwarded_by is not None:  # never twice
            raise NoLeader(NO_LEADER)
        context.decision = "forward"
        return await self._forwarding.forward(context.request, self._pause)

    async def _recover(self, move: dict[str, Any]) -> None:
        """Record what became of a move of the former holder. Raises Unavailable, AuditError."""
        facts = await read_back(self._registry, move)
        await self._audit.write(durable=True, **(move | facts | {"decision": "recovered"}))


@asynccontextmanager
async def replica_of(
    settings: ServeSettings,
    limits: GateSettings,
    authenticator: Authenticator,
    metrics: Metrics,
    withheld: Sequence[str],
) -> AsyncIterator[ReplicaGate]:
    """Yield the gate of one replica. Raises OSError."""
    if settings.lease is None or settings.replica is None or settings.replica_address is None:
        raise ValueError("a replica has a Lease, a name and an address")
    url = URL.build(scheme="http", host=settings.replica_address, port=settings.port)
    seconds = settings.lease_seconds * REQUEST_PART
    async with LeaseClient(settings.kubernetes_url, settings.service_account, settings.lease, seconds=seconds) as lease:
        election = Election(lease, new_replica(settings.replica, str(url)), settings.lease_seconds, metrics)
        async with (
            FencedUpstream(settings.upstream, metrics, election, withheld=withheld) as upstream,
            Forwarding(election, metrics) as forwarding,
        ):
            audit = ReplicaAuditLog(settings.audit_log, settings.replica, election)
            parts = ReplicaParts(election=election, forwarding=forwarding, upstream=upstream, audit=audit)
            yield ReplicaGate(
                parts=parts,
                authenticator=authenticator,
                metrics=metrics,
                settings=replace(limits, keep_seconds=0),
            )
            audit.close()
