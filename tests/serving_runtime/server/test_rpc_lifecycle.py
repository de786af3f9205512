"""gRPC from the start of a server to its end, with clients that go on calling."""

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from serving_runtime.process import serve
from serving_runtime.process.serve import MissingExtraError, reserve_grpc_port
from serving_runtime.rpc.health import WATCH
from serving_runtime.rpc.server import SERVERS
from serving_runtime.settings import read_settings
from testbed.held_calls import held_calls
from testbed.processes import free_port
from testbed.rpc_client import INFER, rpc_client
from testbed.runtime_server import NATIVE, RuntimeServer
from tests.serving_runtime.server.test_lifecycle import is_open
from tests.serving_runtime.server.test_rpc_calls import REQUEST, held_by

Start = Callable[..., RuntimeServer]
CLIENTS = 4


class Service:
    """A Service of Kubernetes: new connections go to `backend`, and those that exist stay where they are."""

    def __init__(self, backend: int) -> None:
        self.backend = backend
        self.port = free_port()

    @contextmanager
    def running(self) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def serve_until_stopped() -> None:
            server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            ready.set()
            with suppress(asyncio.CancelledError):
                await server.serve_forever()

        main = loop.create_task(serve_until_stopped())
        thread = threading.Thread(target=lambda: loop.run_until_complete(main))
        thread.start()
        ready.wait()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(main.cancel)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.01))
            loop.close()

    async def _connected(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            server, requests = await asyncio.open_connection("127.0.0.1", self.backend)
            await asyncio.gather(_copied(client, requests), _copied(server, answers))


async def _copied(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.CancelledError):
        while piece := await source.read(1 << 16):
            target.write(piece)
            await target.drain()
    target.close()


@contextmanager
def traffic(port: int) -> Iterator[Counter[str]]:
    """Call twenty times a second over a channel for each client, and count the statuses."""
    results: Counter[str] = Counter()
    over = threading.Event()

    def run() -> None:
        with rpc_client(port) as client:
            while not over.wait(0.05):
                results[client.call(INFER, REQUEST).status] += 1

    with ThreadPoolExecutor(CLIENTS) as clients:
        ended = [clients.submit(run) for _ in range(CLIENTS)]
        try:
            yield results
        finally:
            over.set()
    for client in ended:
        client.result()


def test_server_that_ends_under_load_loses_no_call_to_the_next_one(start: Start, models: Path, tmp_path: Path) -> None:
    flags = (*NATIVE, "--workers", "1", "--drain-delay", "600", "--stop-timeout", "600")
    first, second = (start(models / "wine", *flags, grpc=True) for _ in range(2))
    first.wait_until_ready()
    second.wait_until_ready()
    service = Service(first.grpc_port)
    with service.running(), traffic(service.port) as results:
        first.wait_until(lambda: results["OK"] > 50)
        first.ask_to_end()
        first.wait_until(lambda: first.get("/readyz").status == 503)
        service.backend = second.grpc_port
        first.end_drain()
        code = first.exit_code()
        before = results["OK"]
        second.wait_until(lambda: results["OK"] > before + 50)

    assert code == 0
    assert set(results) == {"OK"}


def test_end_waits_for_the_call_that_is_being_answered_and_not_for_idle_channels(
    start: Start, hard_models: Path
) -> None:
    server = start(hard_models / "sleeper", "--workers", "1", "--stop-timeout", "600", grpc=True)
    server.wait_until_ready()
    with (
        rpc_client(server.grpc_port) as busy,
        rpc_client(server.grpc_port) as idle,
        ThreadPoolExecutor(1) as clients,
        held_calls() as held,
    ):
        assert idle.call(INFER, held_by(0)).status == "OK"
        answer = clients.submit(busy.call, INFER, held_by(held.port))
        held.wait_for_call()
        server.ask_to_end()
        server.wait_until(lambda: not is_open(server.port))
        held.let_go()

        assert answer.result().status == "OK"
        assert server.exit_code() == 0


def test_health_says_no_while_the_server_drains_and_a_client_that_watches_does_not_hold_its_end(
    start: Start, models: Path
) -> None:
    server = start(
        models / "wine", *NATIVE, "--workers", "1", "--drain-delay", "600", "--stop-timeout", "600", grpc=True
    )
    server.wait_until_ready()
    with rpc_client(server.grpc_port) as client:
        states = (
            WATCH.response.FromString(state).status
            for state in client.channel.unary_stream(WATCH.path)(b"", timeout=600)
        )
        first = next(states)
        server.ask_to_end()

        assert (first, next(states)) == (1, 2)
        assert client.call(INFER, REQUEST).status == "OK"
        server.end_drain()
        assert (list(states), server.exit_code()) == ([], 0)


def test_port_of_a_killed_worker_goes_to_its_replacement(start: Start, models: Path) -> None:
    server = start(models / "wine", *NATIVE, "--workers", "1", grpc=True)
    server.wait_until_ready()
    (killed,) = server.workers()
    os.kill(killed, signal.SIGKILL)
    server.wait_until(lambda: server.workers() not in ([], [killed]))

    with rpc_client(server.grpc_port) as client:
        server.wait_until(lambda: client.call(INFER, REQUEST).status == "OK")
    server.process.popen.kill()
    server.process.popen.wait()
    server.wait_until(lambda: _listeners(server.grpc_port) == 0)


def test_workers_share_the_port_and_clients_spread(start: Start, hard_models: Path) -> None:
    server = start(hard_models / "sleeper", "--workers", "2", grpc=True)
    server.wait_until_ready()
    server.wait_until(lambda: _listeners(server.grpc_port) == 2 * SERVERS)
    answering = set()
    for _ in range(20):
        with rpc_client(server.grpc_port) as client:
            answering.add(client.call(INFER, held_by(0)).body)

    assert len(answering) == 2  # the model predicts the id of its process


def _listeners(port: int) -> int:
    """Return the number of sockets that listen on the port, of both families."""
    lines = [*Path("/proc/net/tcp").read_text().splitlines(), *Path("/proc/net/tcp6").read_text().splitlines()]
    return sum(f":{port:04X} " in line.split(maxsplit=2)[1] + " " and " 0A " in line for line in lines)


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    settings = read_settings({"grpc_port": str(free_port())}, {}, cpus=1)

    with pytest.raises(MissingExtraError, match="the package grpc is not installed; install the extra grpc"):
        reserve_grpc_port(settings)
    assert reserve_grpc_port(read_settings({}, {}, cpus=1)) is None
