"""The time between a replica's last look at its clock and the end of the call that sends the change.

If a replica is frozen in this time, for longer than its Lease, it makes a change that it should not. The server is an
empty one on this machine, and the Lease is in memory: neither is in the measured time.
"""

import asyncio
import statistics
import time
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from tracking_gate.metrics import Metrics
from tracking_gate.replicas import fencing
from tracking_gate.replicas.election import Election
from tracking_gate.replicas.fencing import FencedBody, FencedUpstream
from tracking_gate.replicas.lease import LeaseClient
from tracking_gate.replicas.lease_state import new_replica

CHANGES: Final = 5000
BODY: Final = b'{"name": "wine-quality", "version": "3", "stage": "Production", "archive_existing_versions": true}'


class LeaseInMemory(LeaseClient):
    """A Lease that no other replica wants."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"metadata": {}, "spec": {}}

    async def read(self) -> dict[str, Any]:
        return self.document

    async def replace(self, document: dict[str, Any]) -> dict[str, Any]:
        self.document = document
        return document


class MeasuredBody(FencedBody):
    """A body that notes the seconds from the look at the clock until it is sent."""

    seconds: Final[list[float]] = []

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        begin = time.perf_counter()
        await super().write_with_length(writer, content_length)
        self.seconds.append(time.perf_counter() - begin)


async def nothing_to_recover(_: dict[str, Any]) -> None:
    """Do nothing: there was no other holder."""


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="{}")


async def measure() -> list[float]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    election = Election(LeaseInMemory(), new_replica("gate-0", "http://127.0.0.1"), 20, Metrics())
    running = asyncio.create_task(election.run(nothing_to_recover))
    while not election.leads:
        await asyncio.sleep(0.01)
    async with FencedUpstream(f"http://{host}:{port}", Metrics(), election) as upstream:
        for _ in range(CHANGES):
            await upstream.change("POST", "/", BODY)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await runner.cleanup()
    return MeasuredBody.seconds


def main() -> None:
    fencing.FencedBody = MeasuredBody  # type: ignore[misc]
    parts = statistics.quantiles(asyncio.run(measure()), n=1000)
    shown = ", ".join(f"{name} {parts[place] * 1e6:.0f} µs" for name, place in (("p50", 499), ("p99", 989)))
    print(f"{CHANGES} changes: {shown}")


if __name__ == "__main__":
    main()
