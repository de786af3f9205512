"""The gate as a process: its ports, its probes, its metrics, and its shutdown."""

import asyncio
import json
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from tracking_gate.audit import AuditLog
from tracking_gate.authentication.authenticator import Authenticator
from tracking_gate.authentication.documents import Documents
from tracking_gate.authentication.domino_people import DominoPeople
from tracking_gate.authentication.issuer_tokens import IssuerTokens
from tracking_gate.authentication.issuers_file import IssuersFile
from tracking_gate.authentication.people import NoPeople, PeopleFile, PeopleSource, PeopleSources, TrustedHeader
from tracking_gate.authentication.proxied_people import ProxiedPeople
from tracking_gate.gate.handler import Gate, GateSettings
from tracking_gate.http.client_addresses import ClientAddresses, parsed_networks
from tracking_gate.http.connections import ClientConnection, Connections, ConnectionServer
from tracking_gate.metrics import Metrics
from tracking_gate.mlflow_api.upstream import Upstream
from tracking_gate.secret_directory import SecretDirectory
from tracking_gate.settings import ServeSettings

KEEP_ALIVE_SECONDS: Final = 75.0
MAX_LINE: Final = 16 * 1024  # bytes of a target or a header: MLflow's UI has long queries
BACKLOG: Final = 128  # connections that wait to be accepted, and that the event loop accepts at once
METRICS_CONNECTIONS: Final = 32
# Open files other than the connections: logs, tokens, metrics, and those that open and close in one turn of the loop.
OWN_FILES: Final = 64 + 2 * BACKLOG
LINGERING_SECONDS: Final = 10.0  # seconds for the rest of a body that was refused, so that its client reads the answer


async def serve(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError, PeopleError, IssuersError."""
    directory = SecretDirectory(settings.secret_dir, legacy=settings.accept_legacy)
    metrics = Metrics()
    metrics.watch(directory)
    addresses = ClientAddresses(parsed_networks(settings.proxies))
    limits = GateSettings(
        hosts=frozenset(settings.hosts),
        addresses=addresses,
        requests_per_caller=settings.requests_per_caller,
        client_pause=settings.client_pause,
    )
    async with (
        people_source(settings, metrics) as people,
        issuer_tokens(settings, metrics) as (issuers, proxied),
        gate_of(
            settings,
            limits,
            Authenticator(
                directory, people, time.monotonic, attempts=settings.attempts, issuers=issuers, proxied=proxied
            ),
            metrics,
        ) as gate,
    ):
        connections = Connections(
            limit=min(settings.connections, max_possible_connections()),
            limit_of_address=settings.connections_per_address,
            seconds=settings.client_pause,
            addresses=addresses,
            metrics=metrics,
        )
        server = ConnectionServer(
            Probes(gate, directory).handle,
            connections,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=min(LINGERING_SECONDS, settings.client_pause),
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            auto_decompress=False,
        )
        await run(settings, server, connections, gate, metrics)
        await gate.finish()


@asynccontextmanager
async def gate_of(
    settings: ServeSettings, limits: GateSettings, authenticator: Authenticator, metrics: Metrics
) -> AsyncIterator[Gate]:
    """Yield the gate: one process, or one of several replicas if there is a Lease. Raises OSError."""
    withheld = (settings.people_header,) if settings.people_header else ()
    if settings.lease is not None:
        from tracking_gate.replicas.gate import replica_of  # noqa: PLC0415  one process needs none of it

        async with replica_of(settings, limits, authenticator, metrics, withheld) as replica:
            yield replica
        return
    async with Upstream(settings.upstream, metrics, withheld=withheld) as upstream:
        audit = AuditLog(settings.audit_log)
        metrics.leads(True)
        yield Gate(authenticator=authenticator, upstream=upstream, audit=audit, metrics=metrics, settings=limits)
        audit.close()


async def run(
    settings: ServeSettings, server: ConnectionServer, connections: Connections, gate: Gate, metrics: Metrics
) -> None:
    """Serve until a signal, then finish the requests under way. Raises OSError."""
    runner = web.ServerRunner(server, shutdown_timeout=settings.shutdown_seconds)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
    watching = [asyncio.create_task(connections.watch())]
    runners = [runner]
    if settings.metrics_port is not None:
        few = Connections(
            limit=METRICS_CONNECTIONS, limit_of_address=METRICS_CONNECTIONS, seconds=settings.client_pause
        )
        watching.append(asyncio.create_task(few.watch()))
        runners.append(
            web.ServerRunner(ConnectionServer(MetricsPage(metrics).handle, few, access_log=None), shutdown_timeout=1)
        )
        await runners[-1].setup()
        await web.TCPSite(runners[-1], settings.host, settings.metrics_port).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await gate.begin()
    await stop.wait()
    await gate.hand_over()
    for running in runners:
        await running.cleanup()
    for task in watching:
        task.cancel()


def max_possible_connections() -> int:
    """Return the number of connections that the limit on open files allows, each with one to MLflow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, (soft - OWN_FILES) // 2)


@asynccontextmanager
async def people_source(settings: ServeSettings, metrics: Metrics) -> AsyncIterator[PeopleSource]:
    """Yield the file before Domino, so that people in it can work while Domino is down. Raises OSError, PeopleError."""
    sources: list[PeopleSource] = []
    if settings.people_file and settings.people_header:
        sources.append(TrustedHeader(settings.people_header, settings.people_file))
    elif settings.people_file:
        sources.append(PeopleFile(settings.people_file))
    if settings.domino_url is None:
        yield sources[0] if sources else NoPeople()
        return
    async with DominoPeople(settings.domino_url, metrics, admins=frozenset(settings.admins)) as domino:
        yield PeopleSources(*sources, domino)


@asynccontextmanager
async def issuer_tokens(
    settings: ServeSettings, metrics: Metrics
) -> AsyncIterator[tuple[IssuerTokens | None, ProxiedPeople | None]]:
    """Yield the checks of what the file of issuers trusts, None without a file. Raises OSError, IssuersError."""
    if settings.issuers_file is None:
        yield None, None
        return
    file = IssuersFile(settings.issuers_file)
    async with Documents() as documents:
        yield IssuerTokens(file, documents, metrics), ProxiedPeople(file)


class MetricsPage:
    """Metrics for Prometheus, on a port of their own."""

    def __init__(self, metrics: Metrics) -> None:
        self._registry = metrics.registry

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        names = request.query.getall("name[]", [])
        body = encode(self._registry.restricted_registry(names) if names else self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})


class Probes:
    """Answers the two probes, which MLflow does not have, and gives all other requests to the gate."""

    def __init__(self, gate: Gate, directory: SecretDirectory) -> None:
        self._gate = gate
        self._directory = directory

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path == "/livez":
            return web.Response(text="ok\n")
        if request.raw_path == "/readyz":
            fault = self._directory.fault
            body = json.dumps({"ready": fault is None, "reason": fault}).encode()
            return web.Response(status=503 if fault else 200, body=body, content_type="application/json")
        if isinstance(request.protocol, ClientConnection) and request.protocol.crowded:
            return too_many_connections()
        return await self._gate.handle(request)


def too_many_connections() -> web.Response:
    """Return the answer on a connection above the limit of its address, from which probes may come as well."""
    body = {
        "error_code": "TEMPORARILY_UNAVAILABLE",
        "message": "your address has too many connections with requests under way",
    }
    response = web.Response(
        status=503, body=json.dumps(body).encode(), content_type="application/json", headers={"Retry-After": "5"}
    )
    response.force_close()
    return response
