"""grpcio's asyncio servers of one worker, on a port that all workers bind."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Self

from grpc import aio

from serving_runtime.prediction.handler import PredictionHandler
from serving_runtime.prediction.worker_context import WorkerContext
from serving_runtime.rpc.calls import Calls
from serving_runtime.settings import ServeSettings

LARGEST_METADATA: Final = 64 << 10  # bytes, as the head of a request over HTTP
# A server takes one new call in a turn of the loop. Calls that several take at once share a call of the model.
SERVERS: Final = 64
MOST_CALLS: Final = 256  # at a time on one connection; the client keeps further ones back
# A connection stays with the worker that accepted it. It is asked to go after this time, and its client connects anew:
# so clients spread over the workers, and a worker that ends has only connections that know of its end.
MOST_AGE: Final = 30.0  # seconds
LEAST_AGE: Final = 1.0
AGE_OF_STOP_TIMEOUT: Final = 0.8  # so that a worker that ends can wait for the oldest connection
AGE_JITTER: Final = 1.1  # grpc varies the age by a tenth
QUIET: Final = 0.25  # seconds without a call, after which a worker that ends waits no longer
STEP: Final = 0.05  # seconds between two looks
GRACE: Final = 5.0  # seconds that a call may last longer than `--timeout`
IDENTITY: Final = 1  # of the bits of the compressions that are allowed

_log = logging.getLogger(__name__)


class RpcServer:
    """The servers while the `async with` block runs."""

    def __init__(
        self, settings: ServeSettings, context: WorkerContext, handler: Callable[[], PredictionHandler]
    ) -> None:
        self._settings = settings
        self._calls = Calls(settings, context, handler)
        self._ending_since: float | None = None
        self._stopped = False

    async def __aenter__(self) -> Self:
        self._servers = [await self._started() for _ in range(SERVERS)]
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Go on until each connection was asked to close, or until no call comes; then finish the calls that run."""
        loop = asyncio.get_running_loop()
        self.begin_end()
        began = self._ending_since or 0.0
        renewed, cut = began + _age(self._settings) * AGE_JITTER, began + self._settings.stop_timeout
        while loop.time() < min(renewed, cut) and not self._calls.quiet_for(QUIET):
            await asyncio.sleep(STEP)
        self._stopped = True
        grace = max(0.0, cut - loop.time())
        await asyncio.gather(*(server.stop(grace) for server in self._servers))
        self._keeper.cancel()

    def begin_end(self) -> None:
        """Note the moment in which the worker was asked to end."""
        if self._ending_since is None:
            self._ending_since = asyncio.get_running_loop().time()
            self._calls.end_watches()

    async def _started(self) -> Any:
        server = aio.server(options=_options(self._settings))
        server.add_generic_rpc_handlers((self._calls,))
        host = self._settings.host
        server.add_insecure_port(f"{f'[{host}]' if ':' in host else host}:{self._settings.grpc_port}")
        await server.start()
        return server

    async def _keep(self) -> None:
        """End late calls, and replace a broken server: grpcio takes no more calls after a path that is not UTF-8.

        The calls of the broken server are finished.
        """
        while True:
            await asyncio.sleep(STEP)
            self._calls.end_late()
            for position, server in enumerate(self._servers):
                if not self._stopped and not server._server.is_running():  # grpcio tells it nowhere else
                    _log.error("a gRPC server has broken and is replaced; the line before says why")
                    self._servers[position] = await self._started()


def _age(settings: ServeSettings) -> float:
    """Return the seconds after which a connection is asked to close."""
    return max(LEAST_AGE, min(MOST_AGE, AGE_OF_STOP_TIMEOUT * settings.stop_timeout))


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    """Return grpc's channel arguments: https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h"""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.max_body),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", LARGEST_METADATA),
        ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
        ("grpc.max_concurrent_streams", MOST_CALLS),
        ("grpc.server_handshake_timeout_ms", int(settings.read_timeout * 1000)),
        ("grpc.max_connection_age_ms", int(_age(settings) * 1000)),
        ("grpc.max_connection_age_grace_ms", int((settings.timeout + GRACE) * 1000)),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        # grpc decompresses a message before it checks the size: a megabyte may become a gigabyte.
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY),
        ("grpc.per_message_decompression", 0),
    ]
