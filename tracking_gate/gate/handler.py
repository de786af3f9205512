"""The handler of every request: find the route, authenticate the caller, check the access, forward, record."""

import asyncio
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import web

from tracking_gate.actors import Actor, check_is_person
from tracking_gate.audit import AuditError, AuditLog
from tracking_gate.authentication.authenticator import Authenticator
from tracking_gate.errors import AnswerCut, ClientHungUp, Forbidden, InvalidRequest, Misdirected, Refusal
from tracking_gate.gate.guarded import GuardedOperations
from tracking_gate.gate.recorder import Recorder
from tracking_gate.gate.request_context import RequestContext
from tracking_gate.http.bodies import ClientBody, check_empty, check_transfer_coding
from tracking_gate.http.client_addresses import ClientAddresses
from tracking_gate.http.connections import ClientConnection
from tracking_gate.http.request_limits import BodyMemory, CallerSlots
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.registry import Registry
from tracking_gate.mlflow_api.registry_cache import KEEP_SECONDS, RegistryCache, Write
from tracking_gate.mlflow_api.upstream import Upstream
from tracking_gate.policy.guarded_operations import OPERATIONS
from tracking_gate.policy.people_change_checks import PeopleChangeChecks
from tracking_gate.policy.read_access import ReadAccess
from tracking_gate.policy.routes import NOT_ALLOWED, ObjectKey, Route, RouteAccess
from tracking_gate.policy.write_access import WriteAccess

UPGRADES_OF_AIOHTTP: Final = frozenset({"websocket", "tcp"})
MAX_CHANGE: Final = 32 * 1024 * 1024  # bytes of a change by a person: MLflow's clients log inputs of 16 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Limits on requests.

    `hosts` are the allowed values of Host, empty for any. `client_pause` is the number of seconds in which a client may
    send nothing, `keep_seconds` how long an answer of MLflow is remembered.
    """

    hosts: frozenset[str]
    addresses: ClientAddresses
    requests_per_caller: int
    client_pause: float
    keep_seconds: float = KEEP_SECONDS


class Gate:
    """Handles requests, in one process."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        upstream: Upstream,
        audit: AuditLog,
        metrics: Metrics,
        settings: GateSettings,
    ) -> None:
        cache = RegistryCache(Registry(upstream.ask), settings.keep_seconds)
        self._authenticator = authenticator
        self._upstream = upstream
        self._metrics = metrics
        self._hosts = settings.hosts
        self._addresses = settings.addresses
        self._pause = settings.client_pause
        self._slots = CallerSlots(settings.requests_per_caller)
        self._memory = BodyMemory()
        self._recorder = Recorder(audit, metrics, authenticator.challenges)
        self._owners = cache.owners
        self._reads = ReadAccess(cache)
        self._writes = WriteAccess(cache)
        self._changes = PeopleChangeChecks(cache)
        self._guarded = GuardedOperations(
            cache=cache,
            upstream=upstream,
            recorder=self._recorder,
            memory=self._memory,
            pause=settings.client_pause,
        )
        metrics.expect_unclear(operation.name for operation in OPERATIONS)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request. A request that is not allowed, or that fails in the gate, is not forwarded."""
        context = RequestContext(request=request, addresses=self._addresses)
        with self._metrics.under_way():
            try:
                response = await self._handle(context)
            except Refusal as refusal:
                return await self._recorder.refuse(context, refusal)
            except AuditError:
                return self._recorder.audit_failed(context)
            except ClientHungUp:
                self._recorder.hung_up(context)
                return cut_off(context)
            except AnswerCut:
                self._metrics.answer_cut()
                self._metrics.decided(context.rule, "cut")
                return cut_off(context)
            except asyncio.CancelledError:
                self._recorder.hung_up(context)
                raise
            except Exception as error:  # noqa: BLE001  the edge: no error lets a request through, or tells a client details
                return self._recorder.failed(context, error)
        self._metrics.decided(context.rule, context.decision)
        return response

    async def begin(self) -> None:
        """Start the background tasks: none, if the gate is one process."""

    async def hand_over(self) -> None:
        """Let another replica make the changes, if there are several."""

    async def finish(self) -> None:
        """Wait for changes whose clients have hung up."""
        await self._guarded.finish()

    async def _handle(self, context: RequestContext) -> web.StreamResponse:
        request = context.request
        if self._hosts and request.headers.get("Host", "").lower() not in self._hosts:
            raise Misdirected(
                "this gate does not serve the host that Host names; the admin allows more by --allowed-host"
            )
        check_is_text(request)
        check_transfer_coding(request)
        context.find_route()
        if not (context.route and context.route.access is RouteAccess.PUBLIC):
            context.actor = await self._authenticator.authenticate(
                request.headers, context.client_address, request.remote
            )
        check_origin(request)
        if context.route is None or context.route.access is RouteAccess.DENIED or changes_protocol(request):
            raise Forbidden(context.route.refusal if context.route else NOT_ALLOWED)
        await self._slots.take(context.caller, is_known=context.actor is not None)
        context.give_back = partial(self._slots.give_back, context.caller)
        try:
            return await self._answer(context, context.route)
        finally:
            if not context.abandoned:  # else the change gives it back when it ends
                context.give_back()

    async def _answer(self, context: RequestContext, route: Route) -> web.StreamResponse:
        """Check the access of a route, and return MLflow's answer or the gate's own."""
        actor = context.actor
        if actor is None:
            check_empty(context.request)
            return await self._stream(context)
        match route.access:
            case RouteAccess.GUARDED:
                return await self._guarded.run(context, actor, route)
            case RouteAccess.OBJECT if actor.is_token:
                check_empty(context.request)
                await self._reads.check(actor, route.object_key, context.parameters)
            case RouteAccess.RUN if actor.is_token:
                check_empty(context.request)
                return web.json_response(await self._reads.own_run(actor, context.parameters))
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
                async with self._writes.allowed(actor, route.object_key, context.parameters) as write:
                    return await self._write(context, route, write)
            case RouteAccess.OBJECT | RouteAccess.RUN:
                pass  # a person reads
            case _:
                raise Forbidden(NOT_ALLOWED)
        return await self._stream(context)

    async def _stream(self, context: RequestContext) -> web.StreamResponse:
        return await self._upstream.stream(context.request, context.target, pause=self._pause)

    async def _write(self, context: RequestContext, route: Route, write: Write) -> web.StreamResponse:
        """Forward a write, its last byte after one more check: MLflow stores a file when it has all of it."""
        try:
            if route.object_key is ObjectKey.UPLOAD:
                response = await self._upload(context, write)
            else:
                response = await self._upstream.stream(
                    context.request, context.target, pause=self._pause, before_end=write.check
                )
        except (ClientHungUp, AnswerCut, asyncio.CancelledError):
            await self._recorder.record(context, "cut", None)
            raise
        await self._recorder.record(context, "allow", response.status)
        return response

    async def _upload(self, context: RequestContext, write: Write) -> web.StreamResponse:
        """Forward an upload of MLflow's UI, which MLflow stores as far as it has come: so it is sent as a whole."""
        request = context.request
        with self._memory.held(request.content_length, MAX_CHANGE):
            body = await ClientBody(request, self._pause).whole(MAX_CHANGE)
            write.check()
            return await self._upstream.stream(request, context.target, body, pause=self._pause)

    async def _change(self, context: RequestContext, actor: Actor, route: Route) -> web.StreamResponse:
        """Forward a change by a person. The body names the changed objects."""
        if context.query or route.change is None or context.found is None:
            raise InvalidRequest("send the fields in the body, and none in the query")
        request = context.request
        with self._memory.held(request.content_length, MAX_CHANGE):
            body = await ClientBody(request, self._pause).whole(MAX_CHANGE)
            with self._memory.held_parsed(body):
                checked = await self._changes.check(actor, route.change, context.found.variables, request.headers, body)
            if not checked.gives_run:
                return await self._upstream.stream(request, context.target, checked.body, pause=self._pause)
            self._owners.forget()
            unclear = True
            try:
                response = await self._upstream.stream(request, context.target, checked.body, pause=self._pause)
                unclear = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            finally:
                self._owners.forget(unclear=unclear)
            return response


def cut_off(context: RequestContext) -> web.Response:
    """Reset the connection, so that the client does not take a part of an answer for the whole."""
    connection = context.request.protocol
    if isinstance(connection, ClientConnection):
        connection.reset()
    return web.Response(status=HTTPStatus.BAD_GATEWAY)  # not sent


def check_is_text(request: web.BaseRequest) -> None:
    """Raise InvalidRequest if a header is not UTF-8, which neither a credential nor what MLflow gets can be."""
    try:
        "".join(request.headers.values()).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a header is not UTF-8") from None


def changes_protocol(request: web.BaseRequest) -> bool:
    """Return True for an Upgrade to a protocol that aiohttp knows. The gate ignores another one (RFC 9110, 7.8).

    Java's client offers h2c with each request.
    """
    offered = ",".join(request.headers.getall("Upgrade", [])).lower().split(",")
    return not UPGRADES_OF_AIOHTTP.isdisjoint(name.strip() for name in offered)


def check_origin(request: web.BaseRequest) -> None:
    """Raise Forbidden for a request of another site's page, with which a browser sends the person's password."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
        raise Forbidden("the request comes from a page of another site")
