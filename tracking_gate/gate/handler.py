"""The way of a request through the gate: read strictly, known, decided, forwarded, recorded."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Coroutine, Hashable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakValueDictionary

from aiohttp import web

from model_contract.names import PROJECT_HEADER
from tracking_gate.actors import Actor
from tracking_gate.audit import AuditError, AuditLog, RefusalSampler
from tracking_gate.authentication.authenticator import Authenticator
from tracking_gate.errors import (
    AnswerCut,
    ClientHungUp,
    Forbidden,
    InvalidRequest,
    Misdirected,
    Refusal,
    RequestTimeout,
    TooLarge,
    TooManyAttempts,
    Unavailable,
)
from tracking_gate.gate.request_context import RequestContext
from tracking_gate.http.bodies import ClientBody, check_empty
from tracking_gate.http.client_addresses import ClientAddresses
from tracking_gate.http.connections import ClientConnection
from tracking_gate.http.parsing import decoded_path, parsed_body
from tracking_gate.http.request_limits import BodyMemory, CallerSlots
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.registry import Registry
from tracking_gate.mlflow_api.registry_cache import OwnerCache
from tracking_gate.mlflow_api.upstream import Upstream
from tracking_gate.policy.guarded_operations import OPERATIONS
from tracking_gate.policy.guarded_request import Approval, GuardedRequest
from tracking_gate.policy.people_changes import PeopleChangeChecks
from tracking_gate.policy.read_access import Objects, equal_lookups
from tracking_gate.policy.routes import Route, RouteAccess, match
from tracking_gate.rights import check_is_person

MOST_JSON: Final = 1024 * 1024  # bytes of a guarded operation's body
MOST_CHANGE: Final = 32 * 1024 * 1024  # bytes of a change by a person: MLflow's clients log inputs of 16 MB
DECIDED: Final = frozenset({RouteAccess.GUARDED, RouteAccess.WRITE, RouteAccess.CHANGE})
ASKED: Final = {
    "name": "model",
    "version": "version",
    "stage": "to_stage",
    "alias": "alias",
    "key": "key",
}  # also in the lines of refusals
FINISH: Final = 5.0  # seconds for changes whose clients have hung up, after the server's 20: the pod has 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What requests are held to.

    `hosts` are the names that they may have in Host; empty is any. `client_pause` is the seconds in which a client may
    send nothing.
    """

    hosts: frozenset[str]
    addresses: ClientAddresses
    requests_per_caller: int
    client_pause: float


class Gate:
    """Handles requests. One process: the locks that keep two moves of a model apart are its own."""

    def __init__(
        self,
        *,
        callers: Authenticator,
        upstream: Upstream,
        audit: AuditLog,
        metrics: Metrics,
        settings: GateSettings,
    ) -> None:
        self._callers = callers
        self._upstream = upstream
        self._audit = audit
        self._metrics = metrics
        self._hosts = settings.hosts
        self._addresses = settings.addresses
        self._pause = settings.client_pause
        self._slots = CallerSlots(settings.requests_per_caller)
        self._memory = BodyMemory()
        self._strangers = RefusalSampler(time.monotonic, burst=20, seconds=10)
        self._all_strangers = RefusalSampler(time.monotonic, burst=100, seconds=1)
        self._known = RefusalSampler(time.monotonic, burst=300, seconds=0.2)
        self._unfinished: set[asyncio.Task[web.StreamResponse]] = set()
        self._registry = Registry(upstream.ask)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._owners = OwnerCache()
        self._objects = Objects(self._registry, self._owners)
        self._changes = PeopleChangeChecks(self._registry, self._owners)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers every request; what is not allowed is not forwarded."""
        context = RequestContext(request=request)
        with self._metrics.under_way():
            try:
                response = await self._pass(context)
            except Refusal as refusal:
                return await self._refused(context, refusal)
            except AuditError:
                return self._answer(context, self._unrecorded())
            except ClientHungUp:
                self._hung_up(context)
                return ended(context)
            except AnswerCut:
                self._metrics.answer_cut()
                self._metrics.decided(context.rule, "cut")
                return ended(context)
            except asyncio.CancelledError:
                self._hung_up(context)
                raise
            except Exception:  # noqa: BLE001  the edge: whatever it is, it is not let through, and a client learns nothing of it
                _log.exception("a request failed in the gate", extra={"fields": {"request_id": context.id}})
                self._metrics.failed()
                return self._answer(context, Unavailable("the gate failed; its log has the request's id"))
        self._metrics.decided(context.rule, context.decision)
        return response

    async def finish(self) -> None:
        """Wait for changes whose clients have hung up; what does not end is recorded as unknown."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=FINISH)
        for change in list(self._unfinished):
            change.cancel()
        await asyncio.gather(*self._unfinished, return_exceptions=True)

    async def _pass(self, context: RequestContext) -> web.StreamResponse:
        request = context.request
        if self._hosts and request.headers.get("Host", "").lower() not in self._hosts:
            raise Misdirected("this gate does not serve that host")
        raw, separator, context.query = request.raw_path.partition("?")
        if "#" in request.raw_path or not raw.startswith("/"):
            raise InvalidRequest("the request's target is not a path")
        context.path = decoded_path(raw)
        if separator and any(not "!" <= character <= "~" for character in context.query):
            raise InvalidRequest("the query holds characters that belong written as %XX")
        context.found = match(request.method, context.path)
        if not (context.route and context.route.access is RouteAccess.PUBLIC):
            context.actor = await self._callers.find(request.headers, self._addresses.of(request))
        check_origin(request)
        if context.found is None or context.found.route.access is RouteAccess.DENIED or "Upgrade" in request.headers:
            raise Forbidden("route not allowed")
        caller = self._caller(context)
        await self._slots.take(caller, is_known=context.actor is not None)
        try:
            return await self._treat(context, context.found.route)
        finally:
            self._slots.give_back(caller)

    def _caller(self, context: RequestContext) -> Hashable:
        """Return who has the limits on requests: a token, a person, or an address of which nothing else is known."""
        actor = context.actor
        return (actor.kind, actor.name) if actor else self._addresses.of(context.request)

    async def _treat(self, context: RequestContext, route: Route) -> web.StreamResponse:
        actor = context.actor
        if actor is None:
            check_empty(context.request)
            return await self._stream(context)
        match route.access:
            case RouteAccess.GUARDED:
                return await self._guarded(context, actor, route.operation or "")
            case RouteAccess.OBJECT if actor.is_token:
                check_empty(context.request)
                await self._objects.check_readable(actor, route.object_key, context.named)
            case RouteAccess.RUN if actor.is_token:
                check_empty(context.request)
                return web.json_response(await self._objects.own_run(actor, context.named))
            case RouteAccess.CHANGE:
                check_is_person(actor)
                return await self._change(context, actor, route)
            case RouteAccess.PEOPLE:
                check_is_person(actor)
            case RouteAccess.EMPTY:
                check_is_person(actor)
                return web.Response(text=route.answer, content_type="application/json")
            case RouteAccess.WRITE:
                check_is_person(actor)
                await self._objects.check_writable(actor, route.object_key, context.named)
                return await self._write(context)
            case _:
                pass
        return await self._stream(context)

    async def _stream(self, context: RequestContext) -> web.StreamResponse:
        return await self._upstream.stream(context.request, context.target, pause=self._pause)

    async def _write(self, context: RequestContext) -> web.StreamResponse:
        try:
            response = await self._stream(context)
        except (ClientHungUp, AnswerCut, asyncio.CancelledError):
            await self._record(context, "cut", None)
            raise
        await self._record(context, "allow", response.status)
        return response

    async def _change(self, context: RequestContext, actor: Actor, route: Route) -> web.StreamResponse:
        """Pass on a change by a person, whose body says what is changed."""
        if context.query or route.change is None or context.found is None:
            raise InvalidRequest("the fields belong in the body")
        request = context.request
        with self._memory.held(request.content_length, MOST_CHANGE):
            body = await ClientBody(request, self._pause).whole(MOST_CHANGE)
            gives_away = await self._changes.check(actor, route.change, context.found.variables, request.headers, body)
            if not gives_away:
                return await self._upstream.stream(request, context.target, body, pause=self._pause)
            self._owners.forget()
            unclear = True
            try:
                response = await self._upstream.stream(request, context.target, body, pause=self._pause)
                unclear = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            finally:
                self._owners.forget(unclear=unclear)
            return response

    async def _guarded(self, context: RequestContext, actor: Actor, operation: str) -> web.StreamResponse:
        request = context.request
        if context.query:
            raise InvalidRequest("the fields belong in the body")
        with self._memory.held(request.content_length, MOST_JSON):
            ask = GuardedRequest(
                actor=actor,
                fields=await self._fields(context, operation),
                registry=self._registry,
                owners=self._owners,
                expected=request.headers.get("X-Gate-Expect-Production"),
                project=request.headers.get(PROJECT_HEADER, "").lower() or None,
            )
            return await self._finished(context, self._decide(context, operation, ask))

    async def _fields(self, context: RequestContext, operation: str) -> dict[str, Any]:
        """Read the body, which is let go of before anything is asked of MLflow. Raises InvalidRequest, and as
        ClientBody.
        """
        body = await ClientBody(context.request, self._pause).whole(MOST_JSON)
        context.facts |= {"op": operation, "body_sha256": hashlib.sha256(body).hexdigest()}
        fields = parsed_body(body, context.request.headers, OPERATIONS[operation].fields)
        context.facts |= {fact: fields.get(field) for field, fact in ASKED.items()}
        return fields

    async def _finished(
        self, context: RequestContext, change: Coroutine[Any, Any, web.StreamResponse]
    ) -> web.StreamResponse:
        """Finish and record a change that was begun, though its client hangs up."""
        task = asyncio.create_task(change)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            context.abandoned = True
            task.add_done_callback(lambda done: self._ended_alone(context, done))
            raise
        finally:
            del task  # its error refers to this frame, and both would keep the request's body

    def _ended_alone(self, context: RequestContext, change: "asyncio.Task[web.StreamResponse]") -> None:
        """Count a change whose client has hung up, and log what no client can be told."""
        error = None if change.cancelled() else change.exception()
        if isinstance(error, AuditError):
            self._metrics.audit_failed()
        elif error and not isinstance(error, Refusal | ClientHungUp):
            _log.error("a request failed in the gate", exc_info=error, extra={"fields": {"request_id": context.id}})
            self._metrics.failed()
        self._metrics.decided(
            context.rule, context.decision if error is None or context.decision == "unknown" else "cut"
        )

    async def _decide(self, context: RequestContext, operation: str, ask: GuardedRequest) -> web.StreamResponse:
        lock = self._locks.setdefault(str(ask.fields.get("name")), asyncio.Lock())
        async with lock:
            async with equal_lookups(self._registry, ask.actor, OPERATIONS[operation].questions):
                approval = await OPERATIONS[operation].rule(ask)
            if context.abandoned:
                raise ClientHungUp  # before anything was done
            context.facts |= approval.facts
            return await self._forward(context, operation, approval)

    async def _forward(self, context: RequestContext, operation: str, approval: Approval) -> web.Response:
        durable = "to_stage" in approval.facts or "alias" in approval.facts
        if approval.noop:
            await self._record(context, "noop", HTTPStatus.OK, durable=durable)
            return await self._unchanged(context, operation, approval)
        if durable:
            await self._record(context, "begin", None, durable=True)
        body = json.dumps(approval.body, ensure_ascii=False, allow_nan=False).encode()
        began = time.monotonic()
        key, unclear = approval.body.get("key", ""), True
        self._objects.forget(operation, key)
        try:
            status, answer = await self._upstream.ask(context.request.method, context.target, body)
            unclear = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        except (Unavailable, asyncio.CancelledError):
            await self._record(context, "unknown", None, durable=durable)
            raise
        finally:
            self._objects.forget(operation, key, unclear=unclear)
        context.facts["upstream_ms"] = round((time.monotonic() - began) * 1000)
        if unclear and approval.facts.get("to_stage"):
            context.facts["stage_now"] = await self._stage_now(approval)
        await self._record(context, "unknown" if unclear else "allow", status, durable=durable)
        return web.Response(
            status=status, body=answer, content_type="application/json", headers={"X-Request-ID": context.id}
        )

    async def _stage_now(self, approval: Approval) -> str | None:
        try:
            version = await self._registry.version(approval.body["name"], approval.body["version"])
        except Unavailable:
            return None
        return version.stage if version else None

    async def _unchanged(self, context: RequestContext, operation: str, approval: Approval) -> web.Response:
        """What MLflow would answer, had it been asked for what is so already."""
        answer: bytes = b"{}"
        if operation == "transition_stage":
            version = await self._registry.raw_version(approval.body["name"], approval.body["version"])
            answer = json.dumps({"model_version": version}, ensure_ascii=False).encode()
        return web.Response(body=answer, content_type="application/json", headers={"X-Request-ID": context.id})

    async def _refused(self, context: RequestContext, refusal: Refusal) -> web.Response:
        self._metrics.decided(context.rule, "unknown" if context.decision == "unknown" else "deny")
        if self._is_worth_a_line(context) and context.decision != "unknown":
            await self._record_refusal(context, refusal)
        return self._answer(context, refusal)

    async def _record_refusal(self, context: RequestContext, refusal: Refusal) -> None:
        """With a line, or in the number of those that have none: whoever is refused again and again does not fill the
        disk.
        """
        caller = self._caller(context)
        missed = (self._known if context.actor else self._strangers).take(caller)
        if missed is None or (context.actor is None and self._all_strangers.take("all") is None):
            self._metrics.unlogged()
            return
        context.facts |= {"reason": str(refusal), "unlogged": missed or None}
        try:
            await self._record(context, "deny", refusal.status)
        except AuditError:
            self._unrecorded()

    def _hung_up(self, context: RequestContext) -> None:
        """Count a client that hung up; not as such the end of the gate, nor a client that the gate cut off."""
        connection, request = context.request.protocol, context.request
        if not context.abandoned:
            self._metrics.decided(context.rule, "cut")
        if connection.transport is None and not (isinstance(connection, ClientConnection) and connection.cut):
            answering = request.writer.output_size > 0
            self._metrics.hung_up("answer" if answering else "upstream" if request.content.is_eof() else "body")

    def _unrecorded(self) -> Unavailable:
        _log.exception("the audit log cannot be written")
        self._metrics.audit_failed()
        return Unavailable("the audit log cannot be written")

    @staticmethod
    def _is_worth_a_line(context: RequestContext) -> bool:
        """What a browser asks before it has been told to authenticate is not, and what a person may not read."""
        if context.actor is None:
            return "Authorization" in context.request.headers or context.request.method not in {"GET", "HEAD"}
        return context.route is None or context.actor.is_token or context.route.access in DECIDED

    def _answer(self, context: RequestContext, refusal: Refusal) -> web.Response:
        self._metrics.refused(refusal)
        body = {"error_code": refusal.code, "message": str(refusal), "request_id": context.id}
        response = web.Response(
            status=refusal.status,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers={"X-Request-ID": context.id},
        )
        if refusal.status is HTTPStatus.UNAUTHORIZED:
            for challenge in self._callers.challenges:
                response.headers.add("WWW-Authenticate", challenge)
        if refusal.retry_after:
            response.headers["Retry-After"] = str(refusal.retry_after)
        if isinstance(refusal, TooLarge | InvalidRequest | RequestTimeout | TooManyAttempts):
            response.force_close()
        return response

    async def _record(
        self, context: RequestContext, decision: str, status: int | None, *, durable: bool = False
    ) -> None:
        request, actor = context.request, context.actor
        context.decision = decision
        known: Mapping[str, Any] = {
            "request_id": context.id,
            "decision": decision,
            "rule": context.rule,
            "status": None if status is None else int(status),
            "actor": (
                {"kind": actor.kind, "name": actor.name, "project": actor.project if actor.is_token else None}
                if actor
                else None
            ),
            "method": request.method,
            "path": context.path,
            "peer": request.remote,
            "xff": request.headers.get("X-Forwarded-For", "")[:200] or None,
            "ua": request.headers.get("User-Agent", "")[:200],
            "commit": request.headers.get("X-Gate-Commit", "")[:64] or None,
        }
        await self._audit.write(durable=durable, **known, **context.facts)


def ended(context: RequestContext) -> web.Response:
    """Close the connection, so that what was sent is not taken for a whole answer."""
    connection = context.request.protocol
    if isinstance(connection, ClientConnection):
        connection.reset()
    return web.Response(status=HTTPStatus.BAD_GATEWAY)  # not sent


def check_origin(request: web.BaseRequest) -> None:
    """A browser sends a person's password along with what another site's page asks for."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
        raise Forbidden("a page of another site asks")
