"""Changes that a replica sends to MLflow while it holds the Lease, and the lines of the audit log about them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

import aiohttp
from aiohttp import payload, web
from aiohttp.abc import AbstractStreamWriter

from tracking_gate.audit import AuditLog
from tracking_gate.errors import NoLeader, Unavailable
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.upstream import TIMEOUT, Body, Upstream
from tracking_gate.replicas.election import LEASE_ENDS, Election

BEGIN: Final = "begin"
# Fields of the line of a move that another replica needs to ask MLflow what became of it.
RECOVERY_FIELDS: Final = ("request_id", "op", "model", "version", "alias", "from_stage", "to_stage", "actor", "commit")


class FencedBody(payload.BytesPayload):
    """A body that is written only if the Lease still lasts long enough.

    The check is made at the last moment: head and body are sent together, and MLflow makes no change without the body.
    """

    def __init__(self, body: bytes, election: Election) -> None:
        super().__init__(body, content_type="application/json")
        self._election = election
        self.is_refused = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        try:
            self._election.check()
        except NoLeader:
            self.is_refused = True
            raise
        await super().write_with_length(writer, content_length)


class FencedUpstream(Upstream):
    """MLflow, which gets a change only from the replica that holds the Lease, within the time limit of one change."""

    def __init__(self, url: str, metrics: Metrics, election: Election, *, withheld: Iterable[str] = ()) -> None:
        super().__init__(url, metrics, withheld=withheld)
        self._election = election
        limited = aiohttp.ClientTimeout(total=None, connect=TIMEOUT.connect, sock_read=election.limit)
        self._changes = Upstream(url, metrics, withheld=withheld, timeout=limited)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._changes.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._changes.__aexit__()
        await super().__aexit__()

    async def change(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a change, and return the answer. Raises NoLeader if it was not sent, Unavailable without an answer."""
        fenced = FencedBody(body, self._election)
        with self._election.change():
            try:
                return await self._changes.ask(method, path, fenced)
            except (Unavailable, asyncio.CancelledError):
                self._note(fenced)
                raise

    async def stream(
        self,
        request: web.BaseRequest,
        path: str,
        body: Body | None = None,
        *,
        pause: float,
        before_end: Callable[[], None] | None = None,
    ) -> web.StreamResponse:
        """Forward a request as `Upstream.stream`. A request whose body was read is a change, and so is a deletion."""
        if body is None and request.method != "DELETE":
            return await super().stream(request, path, pause=pause, before_end=before_end)
        fenced = FencedBody(body, self._election) if isinstance(body, bytes) and body else None
        with self._election.change():
            try:
                return await self._changes.stream(request, path, fenced or body, pause=pause, before_end=before_end)
            except (Unavailable, asyncio.CancelledError):
                self._note(fenced)
                raise

    def _note(self, fenced: FencedBody | None) -> None:
        """Raise NoLeader for a change that was not sent; another one may still be made by MLflow."""
        if fenced is not None and fenced.is_refused:
            raise NoLeader(LEASE_ENDS) from None
        self._election.note_unclear()


class ReplicaAuditLog(AuditLog):
    """The audit log of one replica. A move that begins is in the Lease too, until the line of its end is written."""

    def __init__(self, target: str, name: str, election: Election) -> None:
        super().__init__(target)
        self._name = name
        self._election = election

    async def write(self, *, durable: bool = False, **fields: Any) -> None:
        await super().write(durable=durable, replica=self._name, term=self._election.term, **fields)
        if fields.get("decision") == BEGIN:
            await self._election.begin({key: fields[key] for key in RECOVERY_FIELDS if fields.get(key) is not None})
        elif "request_id" in fields:
            self._election.end(fields["request_id"])
