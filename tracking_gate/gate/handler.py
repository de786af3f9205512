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
from tracking_gate.audit import AuditError, AuditLog, Sample
from tracking_gate.authentication.authenticator import Callers
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
from tracking_gate.gate.request_context import Passage
from tracking_gate.http.bodies import ClientBody, check_empty
from tracking_gate.http.client_addresses import ClientAddresses
from tracking_gate.http.connections import ClientConnection
from tracking_gate.http.parsing import body_of, path_of
from tracking_gate.http.request_limits import BodyMemory, CallerSlots
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.registry import Registry
from tracking_gate.mlflow_api.registry_cache import Owners
from tracking_gate.mlflow_api.upstream import Upstream
from tracking_gate.policy.guarded_operations import OPERATIONS
from tracking_gate.policy.guarded_request import Ask, Verdict
from tracking_gate.policy.people_changes import Changes
from tracking_gate.policy.read_access import Objects, even_questions
from tracking_gate.policy.routes import Route, Treatment, match
from tracking_gate.rights import only_people

MOST_JSON: Final = 1024 * 1024  # bytes of a guarded operation's body
MOST_CHANGE: Final = 32 * 1024 * 1024  # bytes of a change by a person: MLflow's clients log inputs of 16 MB
DECIDED: Final = frozenset({Treatment.GUARDED, Treatment.WRITE, Treatment.CHANGE})
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
        callers: Callers,
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
        self._strangers = Sample(time.monotonic, burst=20, seconds=10)
        self._all_strangers = Sample(time.monotonic, burst=100, seconds=1)
        self._known = Sample(time.monotonic, burst=300, seconds=0.2)
        self._unfinished: set[asyncio.Task[web.StreamResponse]] = set()
        self._registry = Registry(upstream.ask)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._owners = Owners()
        self._objects = Objects(self._registry, self._owners)
        self._changes = Changes(self._registry, self._owners)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers every request; what is not allowed is not forwarded."""
        passage = Passage(request=request)
        with self._metrics.under_way():
            try:
                response = await self._pass(passage)
            except Refusal as refusal:
                return await self._refused(passage, refusal)
            except AuditError:
                return self._answer(passage, self._unrecorded())
            except ClientHungUp:
                self._hung_up(passage)
                return ended(passage)
            except AnswerCut:
                self._metrics.answer_cut()
                self._metrics.decided(passage.rule, "cut")
                return ended(passage)
            except asyncio.CancelledError:
                self._hung_up(passage)
                raise
            except Exception:  # noqa: BLE001  the edge: whatever it is, it is not let through, and a client learns nothing of it
                _log.exception("a request failed in the gate", extra={"fields": {"request_id": passage.id}})
                self._metrics.failed()
                return self._answer(passage, Unavailable("the gate failed; its log has the request's id"))
        self._metrics.decided(passage.rule, passage.decision)
        return response

    async def finish(self) -> None:
        """Wait for changes whose clients have hung up; what does not end is recorded as unknown."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=FINISH)
        for change in list(self._unfinished):
            change.cancel()
        await asyncio.gather(*self._unfinished, return_exceptions=True)

    async def _pass(self, passage: Passage) -> web.StreamResponse:
        request = passage.request
        if self._hosts and request.headers.get("Host", "").lower() not in self._hosts:
            raise Misdirected("this gate does not serve that host")
        raw, separator, passage.query = request.raw_path.partition("?")
        if "#" in request.raw_path or not raw.startswith("/"):
            raise InvalidRequest("the request's target is not a path")
        passage.path = path_of(raw)
        if separator and any(not "!" <= character <= "~" for character in passage.query):
            raise InvalidRequest("the query holds characters that belong written as %XX")
        passage.found = match(request.method, passage.path)
        if not (passage.route and passage.route.treatment is Treatment.PUBLIC):
            passage.actor = await self._callers.find(request.headers, self._addresses.of(request))
        check_origin(request)
        if passage.found is None or passage.found.route.treatment is Treatment.DENIED or "Upgrade" in request.headers:
            raise Forbidden("route not allowed")
        caller = self._caller(passage)
        await self._slots.take(caller, is_known=passage.actor is not None)
        try:
            return await self._treat(passage, passage.found.route)
        finally:
            self._slots.give_back(caller)

    def _caller(self, passage: Passage) -> Hashable:
        """Return who has the limits on requests: a token, a person, or an address of which nothing else is known."""
        actor = passage.actor
        return (actor.kind, actor.name) if actor else self._addresses.of(passage.request)

    async def _treat(self, passage: Passage, route: Route) -> web.StreamResponse:
        actor = passage.actor
        if actor is None:
            check_empty(passage.request)
            return await self._stream(passage)
        match route.treatment:
            case Treatment.GUARDED:
                return await self._guarded(passage, actor, route.operation or "")
            case Treatment.OBJECT if actor.is_token:
                check_empty(passage.request)
                await self._objects.check_readable(actor, route.subject, passage.named)
            case Treatment.RUN if actor.is_token:
                check_empty(passage.request)
                return web.json_response(await self._objects.own_run(actor, passage.named))
            case Treatment.CHANGE:
                only_people(actor)
                return await self._change(passage, actor, route)
            case Treatment.PEOPLE:
                only_people(actor)
            case Treatment.EMPTY:
                only_people(actor)
                return web.Response(text=route.answer, content_type="application/json")
            case Treatment.WRITE:
                only_people(actor)
                await self._objects.check_writable(actor, route.subject, passage.named)
                return await self._write(passage)
            case _:
                pass
        return await self._stream(passage)

    async def _stream(self, passage: Passage) -> web.StreamResponse:
        return await self._upstream.stream(passage.request, passage.target, pause=self._pause)

    async def _write(self, passage: Passage) -> web.StreamResponse:
        try:
            response = await self._stream(passage)
        except (ClientHungUp, AnswerCut, asyncio.CancelledError):
            await self._record(passage, "cut", None)
            raise
        await self._record(passage, "allow", response.status)
        return response

    async def _change(self, passage: Passage, actor: Actor, route: Route) -> web.StreamResponse:
        """Pass on a change by a person, whose body says what is changed."""
        if passage.query or route.change is None or passage.found is None:
            raise InvalidRequest("the fields belong in the body")
        request = passage.request
        with self._memory.held(request.content_length, MOST_CHANGE):
            body = await ClientBody(request, self._pause).whole(MOST_CHANGE)
            gives_away = await self._changes.check(actor, route.change, passage.found.variables, request.headers, body)
            if not gives_away:
                return await self._upstream.stream(request, passage.target, body, pause=self._pause)
            self._owners.forget()
            unclear = True
            try:
                response = await self._upstream.stream(request, passage.target, body, pause=self._pause)
                unclear = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            finally:
                self._owners.forget(unclear=unclear)
            return response

    async def _guarded(self, passage: Passage, actor: Actor, operation: str) -> web.StreamResponse:
        request = passage.request
        if passage.query:
            raise InvalidRequest("the fields belong in the body")
        with self._memory.held(request.content_length, MOST_JSON):
            ask = Ask(
                actor=actor,
                fields=await self._fields(passage, operation),
                registry=self._registry,
                owners=self._owners,
                expected=request.headers.get("X-Gate-Expect-Production"),
                project=request.headers.get(PROJECT_HEADER, "").lower() or None,
            )
            return await self._finished(passage, self._decide(passage, operation, ask))

    async def _fields(self, passage: Passage, operation: str) -> dict[str, Any]:
        """Read the body, which is let go of before anything is asked of MLflow. Raises InvalidRequest, and as
        ClientBody.
        """
        body = await ClientBody(passage.request, self._pause).whole(MOST_JSON)
        passage.facts |= {"op": operation, "body_sha256": hashlib.sha256(body).hexdigest()}
        fields = body_of(body, passage.request.headers, OPERATIONS[operation].fields)
        passage.facts |= {fact: fields.get(field) for field, fact in ASKED.items()}
        return fields

    async def _finished(self, passage: Passage, change: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
        """Finish and record a change that was begun, though its client hangs up."""
        task = asyncio.create_task(change)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            passage.abandoned = True
            task.add_done_callback(lambda done: self._ended_alone(passage, done))
            raise
        finally:
            del task  # its error refers to this frame, and both would keep the request's body

    def _ended_alone(self, passage: Passage, change: "asyncio.Task[web.StreamResponse]") -> None:
        """Count a change whose client has hung up, and log what no client can be told."""
        error = None if change.cancelled() else change.exception()
        if isinstance(error, AuditError):
            self._metrics.audit_failed()
        elif error and not isinstance(error, Refusal | ClientHungUp):
            _log.error("a request failed in the gate", exc_info=error, extra={"fields": {"request_id": passage.id}})
            self._metrics.failed()
        self._metrics.decided(
            passage.rule, passage.decision if error is None or passage.decision == "unknown" else "cut"
        )

    async def _decide(self, passage: Passage, operation: str, ask: Ask) -> web.StreamResponse:
        lock = self._locks.setdefault(str(ask.fields.get("name")), asyncio.Lock())
        async with lock:
            async with even_questions(self._registry, ask.actor, OPERATIONS[operation].questions):
                verdict = await OPERATIONS[operation].rule(ask)
            if passage.abandoned:
                raise ClientHungUp  # before anything was done
            passage.facts |= verdict.facts
            return await self._forward(passage, operation, verdict)

    async def _forward(self, passage: Passage, operation: str, verdict: Verdict) -> web.Response:
        durable = "to_stage" in verdict.facts or "alias" in verdict.facts
        if verdict.noop:
            await self._record(passage, "noop", HTTPStatus.OK, durable=durable)
            return await self._unchanged(passage, operation, verdict)
        if durable:
            await self._record(passage, "begin", None, durable=True)
        body = json.dumps(verdict.body, ensure_ascii=False, allow_nan=False).encode()
        began = time.monotonic()
        key, unclear = verdict.body.get("key", ""), True
        self._objects.forget(operation, key)
        try:
            status, answer = await self._upstream.ask(passage.request.method, passage.target, body)
            unclear = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        except (Unavailable, asyncio.CancelledError):
            await self._record(passage, "unknown", None, durable=durable)
            raise
        finally:
            self._objects.forget(operation, key, unclear=unclear)
        passage.facts["upstream_ms"] = round((time.monotonic() - began) * 1000)
        if unclear and verdict.facts.get("to_stage"):
            passage.facts["stage_now"] = await self._stage_now(verdict)
        await self._record(passage, "unknown" if unclear else "allow", status, durable=durable)
        return web.Response(
            status=status, body=answer, content_type="application/json", headers={"X-Request-ID": passage.id}
        )

    async def _stage_now(self, verdict: Verdict) -> str | None:
        try:
            version = await self._registry.version(verdict.body["name"], verdict.body["version"])
        except Unavailable:
            return None
        return version.stage if version else None

    async def _unchanged(self, passage: Passage, operation: str, verdict: Verdict) -> web.Response:
        """What MLflow would answer, had it been asked for what is so already."""
        answer: bytes = b"{}"
        if operation == "transition_stage":
            version = await self._registry.raw_version(verdict.body["name"], verdict.body["version"])
            answer = json.dumps({"model_version": version}, ensure_ascii=False).encode()
        return web.Response(body=answer, content_type="application/json", headers={"X-Request-ID": passage.id})

    async def _refused(self, passage: Passage, refusal: Refusal) -> web.Response:
        self._metrics.decided(passage.rule, "unknown" if passage.decision == "unknown" else "deny")
        if self._is_worth_a_line(passage) and passage.decision != "unknown":
            await self._record_refusal(passage, refusal)
        return self._answer(passage, refusal)

    async def _record_refusal(self, passage: Passage, refusal: Refusal) -> None:
        """With a line, or in the number of those that have none: whoever is refused again and again does not fill the
        disk.
        """
        caller = self._caller(passage)
        missed = (self._known if passage.actor else self._strangers).take(caller)
        if missed is None or (passage.actor is None and self._all_strangers.take("all") is None):
            self._metrics.unlogged()
            return
        passage.facts |= {"reason": str(refusal), "unlogged": missed or None}
        try:
            await self._record(passage, "deny", refusal.status)
        except AuditError:
            self._unrecorded()

    def _hung_up(self, passage: Passage) -> None:
        """Count a client that hung up; not as such the end of the gate, nor a client that the gate cut off."""
        connection, request = passage.request.protocol, passage.request
        if not passage.abandoned:
            self._metrics.decided(passage.rule, "cut")
        if connection.transport is None and not (isinstance(connection, ClientConnection) and connection.cut):
            answering = request.writer.output_size > 0
            self._metrics.hung_up("answer" if answering else "upstream" if request.content.is_eof() else "body")

    def _unrecorded(self) -> Unavailable:
        _log.exception("the audit log cannot be written")
        self._metrics.audit_failed()
        return Unavailable("the audit log cannot be written")

    @staticmethod
    def _is_worth_a_line(passage: Passage) -> bool:
        """What a browser asks before it has been told to authenticate is not, and what a person may not read."""
        if passage.actor is None:
            return "Authorization" in passage.request.headers or passage.request.method not in {"GET", "HEAD"}
        return passage.route is None or passage.actor.is_token or passage.route.treatment in DECIDED

    def _answer(self, passage: Passage, refusal: Refusal) -> web.Response:
        self._metrics.refused(refusal)
        body = {"error_code": refusal.code, "message": str(refusal), "request_id": passage.id}
        response = web.Response(
            status=refusal.status,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers={"X-Request-ID": passage.id},
        )
        if refusal.status is HTTPStatus.UNAUTHORIZED:
            for challenge in self._callers.challenges:
                response.headers.add("WWW-Authenticate", challenge)
        if refusal.retry_after:
            response.headers["Retry-After"] = str(refusal.retry_after)
        if isinstance(refusal, TooLarge | InvalidRequest | RequestTimeout | TooManyAttempts):
            response.force_close()
        return response

    async def _record(self, passage: Passage, decision: str, status: int | None, *, durable: bool = False) -> None:
        request, actor = passage.request, passage.actor
        passage.decision = decision
        known: Mapping[str, Any] = {
            "request_id": passage.id,
            "decision": decision,
            "rule": passage.rule,
            "status": None if status is None else int(status),
            "actor": (
                {"kind": actor.kind, "name": actor.name, "project": actor.project if actor.is_token else None}
                if actor
                else None
            ),
            "method": request.method,
            "path": passage.path,
            "peer": request.remote,
            "xff": request.headers.get("X-Forwarded-For", "")[:200] or None,
            "ua": request.headers.get("User-Agent", "")[:200],
            "commit": request.headers.get("X-Gate-Commit", "")[:64] or None,
        }
        await self._audit.write(durable=durable, **known, **passage.facts)


def ended(passage: Passage) -> web.Response:
    """Close the connection, so that what was sent is not taken for a whole answer."""
    connection = passage.request.protocol
    if isinstance(connection, ClientConnection):
        connection.reset()
    return web.Response(status=HTTPStatus.BAD_GATEWAY)  # not sent


def check_origin(request: web.BaseRequest) -> None:
    """A browser sends a person's password along with what another site's page asks for."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
        raise Forbidden("a page of another site asks")
