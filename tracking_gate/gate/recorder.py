"""The outcome of a request: the fields of its audit line, its metrics, and the gate's own answer to a refusal."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from tracking_gate.audit import AuditError, AuditLog, RefusalSampler
from tracking_gate.errors import ClientHungUp, Refusal, Unavailable
from tracking_gate.gate.request_context import RequestContext
from tracking_gate.http.connections import ClientConnection
from tracking_gate.metrics import Metrics
from tracking_gate.policy.routes import RouteAccess

DECIDED: Final = frozenset({RouteAccess.GUARDED, RouteAccess.WRITE, RouteAccess.CHANGE})

_log = logging.getLogger(__name__)


class Recorder:
    """Records and counts outcomes. Repeated refusals of one caller are sampled, so that they do not fill the disk."""

    def __init__(self, audit: AuditLog, metrics: Metrics, challenges: list[str]) -> None:
        """`challenges` are the values of WWW-Authenticate."""
        self._audit = audit
        self._metrics = metrics
        self._challenges = challenges
        self._unknown_callers = RefusalSampler(time.monotonic, burst=20, seconds=10)
        self._all_unknown_callers = RefusalSampler(time.monotonic, burst=100, seconds=1)
        self._known_callers = RefusalSampler(time.monotonic, burst=300, seconds=0.2)

    async def record(
        self, context: RequestContext, decision: str, status: int | None, *, durable: bool = False
    ) -> None:
        """Write the line of a decision; `durable` waits until the line is on the disk. Raises AuditError."""
        request, actor = context.request, context.actor
        context.decision = decision
        known: Mapping[str, Any] = {
            "request_id": context.id,
            "decision": decision,
            "rule": context.rule,
            "status": None if status is None else int(status),
            "actor": (
                {
                    "kind": actor.kind,
                    "name": actor.name,
                    "project": actor.project if actor.is_token else None,
                    **actor.details,
                }
                if actor
                else None
            ),
            "method": request.method,
            "path": context.path,
            "peer": request.remote,
            "via": context.forwarded_by,
            "xff": request.headers.get("X-Forwarded-For", "")[:200] or None,
            "ua": request.headers.get("User-Agent", "")[:200],
            "commit": request.headers.get("X-Gate-Commit", "")[:64] or None,
        }
        await self._audit.write(durable=durable, **known, **context.facts)

    async def refuse(self, context: RequestContext, refusal: Refusal) -> web.Response:
        """Record and count a refusal, and return its answer."""
        self._metrics.decided(context.rule, "unknown" if context.decision == "unknown" else "deny")
        if gets_audit_line(context) and context.decision not in {"unknown", "deny"}:
            await self._record_refusal(context, refusal)
        return self.answer(context, refusal)

    async def end_unsent(self, context: RequestContext, refusal: Refusal) -> None:
        """Write the line that ends the line `begin` of a move that was not sent. Raises AuditError."""
        if context.decision == "begin":
            context.facts |= {"reason": str(refusal)}
            await self.record(context, "deny", refusal.status, durable=True)

    async def _record_refusal(self, context: RequestContext, refusal: Refusal) -> None:
        """Write a line, or count the refusal for the next line of the caller."""
        missed = (self._known_callers if context.actor else self._unknown_callers).take(context.caller)
        if missed is None or (context.actor is None and self._all_unknown_callers.take("all") is None):
            self._metrics.unlogged()
            return
        context.facts |= {"reason": str(refusal), "unlogged": missed or None}
        try:
            await self.record(context, "deny", refusal.status)
        except AuditError:
            self._note_audit_failure()

    def audit_failed(self, context: RequestContext) -> web.Response:
        """Return the answer to a request that could not be recorded."""
        self._note_audit_failure()
        return self.answer(context, Unavailable("the audit log cannot be written"))

    def _note_audit_failure(self) -> None:
        _log.exception("the audit log cannot be written")
        self._metrics.audit_failed()

    def failed(self, context: RequestContext, error: BaseException) -> web.Response:
        """Return the answer to a request that met a fault of the gate, without any of its details."""
        self._note_failure(context, error)
        return self.answer(context, Unavailable("the gate failed; its log has the request's id"))

    def abandoned(self, context: RequestContext, change: "asyncio.Task[web.StreamResponse]") -> None:
        """Count a change after its client has hung up, and log an error that no client gets."""
        error = None if change.cancelled() else change.exception()
        if isinstance(error, AuditError):
            self._metrics.audit_failed()
        elif error and not isinstance(error, Refusal | ClientHungUp):
            self._note_failure(context, error)
        self._metrics.decided(
            context.rule, context.decision if error is None or context.decision == "unknown" else "cut"
        )

    def _note_failure(self, context: RequestContext, error: BaseException) -> None:
        _log.error("a request failed in the gate", exc_info=error, extra={"fields": {"request_id": context.id}})
        self._metrics.failed()

    def hung_up(self, context: RequestContext) -> None:
        """Count a client that hung up, unless the gate ends or has cut the client off."""
        connection, request = context.request.protocol, context.request
        if not context.abandoned:
            self._metrics.decided(context.rule, "cut")
        if connection.transport is None and not (isinstance(connection, ClientConnection) and connection.cut):
            answering = request.writer.output_size > 0
            self._metrics.hung_up("answer" if answering else "upstream" if request.content.is_eof() else "body")

    def answer(self, context: RequestContext, refusal: Refusal) -> web.Response:
        """Return the answer of a refusal, and count it by its reason."""
        self._metrics.refused(refusal)
        body = {"error_code": refusal.code, "message": str(refusal), "request_id": context.id}
        response = web.Response(
            status=refusal.status,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers={"X-Request-ID": context.id},
        )
        if refusal.status is HTTPStatus.UNAUTHORIZED:
            for challenge in self._challenges:
                response.headers.add("WWW-Authenticate", challenge)
        if refusal.retry_after:
            response.headers["Retry-After"] = str(refusal.retry_after)
        if refusal.closes:
            response.force_close()
        return response


def gets_audit_line(context: RequestContext) -> bool:
    """Return False for a browser's requests before it authenticates, and for reads that a person may not make."""
    if context.actor is None:
        return "Authorization" in context.request.headers or context.request.method not in {"GET", "HEAD"}
    return context.route is None or context.actor.is_token or context.route.access in DECIDED
