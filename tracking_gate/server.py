"""The gate as a process: its port, its metrics, its end."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web
from prometheus_client import start_http_server

from tracking_gate.audit import AuditLog
from tracking_gate.callers import Callers
from tracking_gate.domino_people import DominoPeople
from tracking_gate.gate import Gate
from tracking_gate.metrics import Metrics
from tracking_gate.people import Nobody, People, PeopleFile, Several, TrustedHeader
from tracking_gate.secret_directory import SecretDirectory
from tracking_gate.upstream import Upstream

GRACE: Final = 20.0  # seconds for requests under way
KEEP_ALIVE: Final = 75.0  # seconds
LONGEST_LINE: Final = 16 * 1024  # bytes of a target or a header: MLflow's UI has long queries


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What `model-api-gate serve` is told."""

    host: str
    port: int
    upstream: str
    secret_dir: Path
    people_file: Path | None
    people_header: str | None
    domino_url: str | None
    domino_admins: frozenset[str]
    audit_log: str
    hosts: frozenset[str]
    metrics_port: int | None
    accept_legacy: bool
    attempts: int


async def serve(settings: ServeSettings) -> None:
    """Until SIGTERM or SIGINT. Raises OSError, PeopleError."""
    directory = SecretDirectory(settings.secret_dir, legacy=settings.accept_legacy)
    metrics = Metrics()
    metrics.watch(directory)
    withheld = (settings.people_header,) if settings.people_header else ()
    async with people_of(settings, metrics) as people, Upstream(settings.upstream, metrics, withheld=withheld) as upstream:
        callers = Callers(directory, people, time.monotonic, attempts=settings.attempts)
        gate = Gate(callers=callers, upstream=upstream, audit=AuditLog(settings.audit_log), metrics=metrics, hosts=settings.hosts)
        runner = web.ServerRunner(
            web.Server(
                Probes(gate, directory).handle,
                access_log=None,
                keepalive_timeout=KEEP_ALIVE,
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                auto_decompress=False,
            ),
            shutdown_timeout=GRACE,
        )
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        if settings.metrics_port is not None:
            start_http_server(settings.metrics_port, settings.host, metrics.registry)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        await runner.cleanup()


@asynccontextmanager
async def people_of(settings: ServeSettings, metrics: Metrics) -> AsyncIterator[People]:
    """The file before Domino: who is in it can work while Domino is away. Raises OSError, PeopleError."""
    ways: list[People] = []
    if settings.people_file and settings.people_header:
        ways.append(TrustedHeader(settings.people_header, settings.people_file))
    elif settings.people_file:
        ways.append(PeopleFile(settings.people_file))
    if settings.domino_url is None:
        yield ways[0] if ways else Nobody()
        return
    async with DominoPeople(settings.domino_url, metrics, admins=settings.domino_admins) as domino:
        yield Several(*ways, domino)


class Probes:
    """The gate's own two paths, which MLflow does not have; all else is the gate's."""

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
        return await self._gate.handle(request)
