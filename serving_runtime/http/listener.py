"""uvicorn's server for the ASGI callable, on a socket that several processes share."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import uvicorn
import uvloop

from serving_runtime.http.answer import Send
from serving_runtime.http.body import Receive
from serving_runtime.http.uvicorn_fast_path import GuardedProtocol
from serving_runtime.settings import ServeSettings

# Longer than proxies keep an idle connection (60 s is usual): the side that sends the next request must close first.
KEEP_ALIVE: Final = 75  # seconds

Asgi = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]


class Listener(uvicorn.Server):
    """A server that `stop` ends: accepted requests are finished, idle connections closed."""

    def __init__(
        self, application: Asgi, settings: ServeSettings, *, notify: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=partial(GuardedProtocol, read_timeout=settings.read_timeout),  # type: ignore[arg-type]  # it is only called
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                workers=1,  # or uvicorn reads WEB_CONCURRENCY, which is for the supervisor
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, int(settings.stop_timeout)),
                callback_notify=notify,
                timeout_notify=1,
            )
        )

    def stop(self, *_: Any) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield

    def listen(
        self,
        sockets: Sequence[socket.socket],
        *,
        started: Callable[[asyncio.AbstractEventLoop], None],
        second_server: contextlib.AbstractAsyncContextManager[Any] | None = None,
    ) -> None:
        """Serve until it is stopped. `started` gets the event loop before the first request.

        `second_server` begins before that, and ends after the last request.
        """

        async def run() -> None:
            async with second_server or contextlib.nullcontext():
                started(asyncio.get_running_loop())
                await self.serve(sockets=list(sockets))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
