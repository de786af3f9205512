"""Guarded operations: parsed, decided under their locks, forwarded as the gate writes them, and recorded."""

import asyncio
import hashlib
import json
import time
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakValueDictionary

from aiohttp import web

from model_contract.names import PROJECT_HEADER
from tracking_gate.actors import Actor
from tracking_gate.errors import ClientHungUp, InvalidRequest, NoLeader, Unavailable
from tracking_gate.gate.recorder import Recorder
from tracking_gate.gate.request_context import RequestContext
from tracking_gate.http.bodies import ClientBody
from tracking_gate.http.parsing import parsed_body
from tracking_gate.http.request_limits import BodyMemory
from tracking_gate.mlflow_api.registry_cache import RegistryCache
from tracking_gate.mlflow_api.upstream import Upstream
from tracking_gate.policy.guarded_operations import Operation
from tracking_gate.policy.guarded_request import Approval, GuardedRequest, equal_lookups
from tracking_gate.policy.routes import Route

MAX_BODY: Final = 1024 * 1024  # bytes
FINISH_SECONDS: Final = 5.0  # for changes whose clients have hung up, after the server's 20: the pod has 30
# Fields that are also in the audit lines of refusals, with their names there.
AUDITED: Final = {"name": "model", "version": "version", "stage": "to_stage", "alias": "alias", "key": "key"}


class GuardedOperations:
    """Runs guarded operations. One process: its locks keep apart what decides by the state that the other changes."""

    def __init__(
        self, *, cache: RegistryCache, upstream: Upstream, recorder: Recorder, memory: BodyMemory, pause: float
    ) -> None:
        """`pause` is the number of seconds in which a client may send nothing of its body."""
        self._registry = cache.registry
        self._cache = cache
        self._upstream = upstream
        self._recorder = recorder
        self._memory = memory
        self._pause = pause
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unfinished: set[asyncio.Task[web.StreamResponse]] = set()

    async def run(self, context: RequestContext, actor: Actor, route: Route) -> web.StreamResponse:
        """Return MLflow's answer, or that of an unchanged object. Raises a Refusal, AuditError, ClientHungUp."""
        request, operation = context.request, route.operation
        if context.query or operation is None:
            raise InvalidRequest("send the fields in the body, and none in the query")
        with self._memory.held(request.content_length, MAX_BODY):
            body = await ClientBody(request, self._pause).whole(MAX_BODY)
            variables = context.found.variables if context.found else {}
            return await self._finished(context, self._change(context, actor, operation, body, variables))

    async def finish(self) -> None:
        """Wait for changes whose clients have hung up; a change that does not end is recorded as unknown."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=FINISH_SECONDS)
        for change in list(self._unfinished):
            change.cancel()
        await asyncio.gather(*self._unfinished, return_exceptions=True)

    async def _change(
        self, context: RequestContext, actor: Actor, operation: Operation, body: bytes, variables: Mapping[str, str]
    ) -> web.StreamResponse:
        """Parse and decide a change, whose memory is held until its end, also if its client hangs up before."""
        headers = context.request.headers
        with self._memory.held_parsed(body):
            guarded = GuardedRequest(
                actor=actor,
                fields=self._fields(context, operation, body, variables),
                registry=self._registry,
                owners=self._cache.owners,
                expected_production=headers.get("X-Gate-Expect-Production"),
                new_project=headers.get(PROJECT_HEADER, "").lower() or None,
            )
            return await self._decide(context, operation, guarded)

    def _fields(
        self, context: RequestContext, operation: Operation, body: bytes, variables: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the fields of body and path, and note them for the audit log. Raises InvalidRequest."""
        context.facts |= {"op": operation.name, "body_sha256": hashlib.sha256(body).hexdigest()}
        fields = parsed_body(body, context.request.headers, operation.fields, variables)
        context.facts |= {fact: fields.get(field) for field, fact in AUDITED.items()}
        return fields

    async def _finished(
        self, context: RequestContext, change: Coroutine[Any, Any, web.StreamResponse]
    ) -> web.StreamResponse:
        """Finish and record a change that was begun, even if its client hangs up: its caller's slot stays taken."""
        task = asyncio.create_task(change)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            context.abandoned = True
            task.add_done_callback(lambda done: self._recorder.abandoned(context, done))
            task.add_done_callback(lambda _: context.give_back())
            raise
        finally:
            del task  # its error refers to this frame, and both would keep the request's body

    async def _decide(
        self, context: RequestContext, operation: Operation, guarded: GuardedRequest
    ) -> web.StreamResponse:
        async with AsyncExitStack() as held:
            for name in operation.locks(guarded.fields):
                await held.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
            async with equal_lookups(self._registry, guarded.actor, operation.max_lookups):
                approval = await operation.rule(guarded)
            if context.abandoned:
                raise ClientHungUp  # before anything was done
            context.facts |= approval.facts
            try:
                return await self._forward(context, operation, approval)
            except NoLeader as refusal:
                await self._recorder.end_unsent(context, refusal)  # also if no client waits for the answer
                raise

    async def _forward(self, context: RequestContext, operation: Operation, approval: Approval) -> web.Response:
        durable = operation.durable
        if approval.noop:
            await self._recorder.record(context, "noop", HTTPStatus.OK, durable=durable)
            return await self._unchanged(context, operation, approval)
        if durable:
            await self._recorder.record(context, "begin", None, durable=True)
        body = json.dumps(approval.body, ensure_ascii=False, allow_nan=False).encode()
        began = time.monotonic()
        invalidates, unclear = operation.invalidated_by(approval.body), True
        self._cache.forget(invalidates)
        try:
            status, answer = await self._upstream.change(context.request.method, context.target, body)
            unclear = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        except (Unavailable, asyncio.CancelledError):
            self._cache.forget(invalidates, unclear=True)
            if approval.promotes:
                self._cache.refuse_all_writes()
            await self._recorder.record(context, "unknown", None, durable=durable)
            raise
        finally:
            self._cache.forget(invalidates, unclear=unclear)
        context.facts["upstream_ms"] = round((time.monotonic() - began) * 1000)
        if unclear and operation.moves_stage:
            context.facts["stage_now"] = await self._stage_now(approval)
        await self._recorder.record(context, "unknown" if unclear else "allow", status, durable=durable)
        if approval.promotes and (unclear or status < HTTPStatus.BAD_REQUEST):
            await self._cache.refuse_writes(approval.body["name"], approval.body["version"])
        return web.Response(
            status=status, body=answer, content_type="application/json", headers={"X-Request-ID": context.id}
        )

    async def _stage_now(self, approval: Approval) -> str | None:
        try:
            version = await self._registry.version(approval.body["name"], approval.body["version"])
        except Unavailable:
            return None
        return version.stage if version else None

    async def _unchanged(self, context: RequestContext, operation: Operation, approval: Approval) -> web.Response:
        """Return the answer that MLflow gives to a request for the state that an object already has."""
        answer: bytes = b"{}"
        if operation.moves_stage:
            version = await self._registry.raw_version(approval.body["name"], approval.body["version"])
            answer = json.dumps({"model_version": version}, ensure_ascii=False).encode()
        return web.Response(body=answer, content_type="application/json", headers={"X-Request-ID": context.id})
