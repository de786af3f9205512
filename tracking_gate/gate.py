"""The way of a request through the gate: read strictly, known, decided, forwarded, recorded."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakValueDictionary

from aiohttp import web

from model_contract.names import PROJECT_HEADER
from tracking_gate.actors import Actor
from tracking_gate.asks import Ask, Verdict
from tracking_gate.audit import AuditError, AuditLog
from tracking_gate.callers import Callers
from tracking_gate.changes import Changes
from tracking_gate.errors import Forbidden, InvalidRequest, Misdirected, Refusal, TooLarge, Unavailable
from tracking_gate.metrics import Metrics
from tracking_gate.objects import Objects, even_questions
from tracking_gate.operations import OPERATIONS
from tracking_gate.owners import Owners
from tracking_gate.passage import Passage
from tracking_gate.registry import Registry
from tracking_gate.rights import only_people
from tracking_gate.routes import Route, Treatment, match
from tracking_gate.rules import PRODUCTION
from tracking_gate.strict import body_of, path_of
from tracking_gate.upstream import Upstream

MOST_JSON: Final = 1024 * 1024  # bytes of a guarded operation's body
MOST_CHANGE: Final = 32 * 1024 * 1024  # bytes of a change by a person: MLflow's clients log inputs of 16 MB
DECIDED: Final = frozenset({Treatment.GUARDED, Treatment.WRITE, Treatment.CHANGE})
ASKED: Final = {"name": "model", "version": "version", "stage": "to_stage", "alias": "alias", "key": "key"}  # also in the lines of refusals

_log = logging.getLogger(__name__)


class Gate:
    """Handles requests. One process: the locks that keep two moves of a model apart are its own."""

    def __init__(
        self, *, callers: Callers, upstream: Upstream, audit: AuditLog, metrics: Metrics, hosts: frozenset[str] = frozenset()
    ) -> None:
        """`hosts` are the names that requests may have in Host; empty is any."""
        self._callers = callers
        self._upstream = upstream
        self._audit = audit
        self._metrics = metrics
        self._hosts = hosts
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
                return self._refused(passage, refusal)
            except AuditError:
                return self._answer(passage, self._unrecorded())
            except (ConnectionResetError, asyncio.CancelledError):
                raise
            except Exception:  # noqa: BLE001  the edge: whatever it is, it is not let through, and a client learns nothing of it
                _log.exception("a request failed in the gate", extra={"fields": {"request_id": passage.id}})
                self._metrics.failed()
                return self._answer(passage, Unavailable("the gate failed; its log has the request's id"))
        self._metrics.decided(passage.rule, passage.decision)
        return response

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
            passage.actor = await self._callers.find(request.headers, request.remote or "unknown")
        check_origin(request)
        if passage.found is None or passage.found.route.treatment is Treatment.DENIED or "Upgrade" in request.headers:
            raise Forbidden("route not allowed")
        return await self._treat(passage, passage.found.route)

    async def _treat(self, passage: Passage, route: Route) -> web.StreamResponse:
        actor = passage.actor
        if actor is None:
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
                response = await self._stream(passage)
                self._record(passage, "allow", response.status)
                return response
            case _:
                pass
        return await self._stream(passage)

    async def _stream(self, passage: Passage) -> web.StreamResponse:
        return await self._upstream.stream(passage.request, passage.target)

    async def _change(self, passage: Passage, actor: Actor, route: Route) -> web.StreamResponse:
        if passage.query or route.change is None or passage.found is None:
            raise InvalidRequest("the fields belong in the body")
        request = passage.request
        body = await read_body(request, MOST_CHANGE)
        gives_away = await self._changes.check(actor, route.change, passage.found.variables, request.headers, body)
        if not gives_away:
            return await self._upstream.stream(request, passage.target, body)
        self._owners.forget()
        unclear = True
        try:
            response = await self._upstream.stream(request, passage.target, body)
            unclear = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        finally:
            self._owners.forget(unclear=unclear)
        return response

    async def _guarded(self, passage: Passage, actor: Actor, operation: str) -> web.StreamResponse:
        request = passage.request
        if passage.query:
            raise InvalidRequest("the fields belong in the body")
        body = await read_body(request)
        passage.facts |= {"op": operation, "body_sha256": hashlib.sha256(body).hexdigest()}
        fields = body_of(body, request.headers, OPERATIONS[operation].fields)
        passage.facts |= {fact: fields.get(field) for field, fact in ASKED.items()}
        ask = Ask(
            actor=actor,
            fields=fields,
            registry=self._registry,
            owners=self._owners,
            expected=request.headers.get("X-Gate-Expect-Production"),
            project=request.headers.get(PROJECT_HEADER, "").lower() or None,
        )
        lock = self._locks.setdefault(str(fields.get("name")), asyncio.Lock())
        async with lock:
            async with even_questions(self._registry, actor, OPERATIONS[operation].questions):
                verdict = await OPERATIONS[operation].rule(ask)
            passage.facts |= verdict.facts
            return await self._forward(passage, operation, verdict)

    async def _forward(self, passage: Passage, operation: str, verdict: Verdict) -> web.Response:
        durable = PRODUCTION in {verdict.facts.get("to_stage"), verdict.facts.get("from_stage")} or "alias" in verdict.facts
        if verdict.noop:
            self._record(passage, "noop", HTTPStatus.OK, durable=durable)
            return await self._unchanged(passage, operation, verdict)
        if durable:
            self._record(passage, "begin", None, durable=True)
        body = json.dumps(verdict.body, ensure_ascii=False, allow_nan=False).encode()
        began = time.monotonic()
        key, unclear = verdict.body.get("key", ""), True
        self._objects.forget(operation, key)
        try:
            status, answer = await self._upstream.ask(passage.request.method, passage.target, body)
            unclear = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        except Unavailable:
            self._record(passage, "unknown", None, durable=durable)
            raise
        finally:
            self._objects.forget(operation, key, unclear=unclear)
        passage.facts["upstream_ms"] = round((time.monotonic() - began) * 1000)
        if unclear and verdict.facts.get("to_stage"):
            passage.facts["stage_now"] = await self._stage_now(verdict)
        self._record(passage, "unknown" if unclear else "allow", status, durable=durable)
        return web.Response(status=status, body=answer, content_type="application/json", headers={"X-Request-ID": passage.id})

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

    def _refused(self, passage: Passage, refusal: Refusal) -> web.Response:
        self._metrics.decided(passage.rule, "unknown" if passage.decision == "unknown" else "deny")
        if self._is_worth_a_line(passage) and passage.decision != "unknown":
            passage.facts["reason"] = str(refusal)
            try:
                self._record(passage, "deny", refusal.status)
            except AuditError:
                self._unrecorded()
        return self._answer(passage, refusal)

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
            status=refusal.status, body=json.dumps(body).encode(), content_type="application/json", headers={"X-Request-ID": passage.id}
        )
        if refusal.status is HTTPStatus.UNAUTHORIZED:
            for challenge in self._callers.challenges:
                response.headers.add("WWW-Authenticate", challenge)
        if refusal.retry_after:
            response.headers["Retry-After"] = str(refusal.retry_after)
        if isinstance(refusal, TooLarge | InvalidRequest):
            response.force_close()
        return response

    def _record(self, passage: Passage, decision: str, status: int | None, *, durable: bool = False) -> None:
        request, actor = passage.request, passage.actor
        passage.decision = decision
        known: Mapping[str, Any] = {
            "request_id": passage.id,
            "decision": decision,
            "rule": passage.rule,
            "status": None if status is None else int(status),
            "actor": {"kind": actor.kind, "name": actor.name, "project": actor.project if actor.is_token else None} if actor else None,
            "method": request.method,
            "path": passage.path,
            "peer": request.remote,
            "xff": request.headers.get("X-Forwarded-For", "")[:200] or None,
            "ua": request.headers.get("User-Agent", "")[:200],
            "commit": request.headers.get("X-Gate-Commit", "")[:64] or None,
        }
        self._audit.write(durable=durable, **known, **passage.facts)


async def read_body(request: web.BaseRequest, most: int = MOST_JSON) -> bytes:
    """Raises TooLarge as soon as there is too much."""
    if (request.content_length or 0) > most:
        raise TooLarge(f"the body has more than {most} bytes")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"the body has more than {most} bytes")
    return bytes(body)


def check_empty(request: web.BaseRequest) -> None:
    """MLflow would read the fields of a GET from its body."""
    if request.can_read_body:
        raise InvalidRequest("a GET has no body here")


def check_origin(request: web.BaseRequest) -> None:
    """A browser sends a person's password along with what another site's page asks for."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
        raise Forbidden("a page of another site asks")
