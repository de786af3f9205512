"""Lower bound of the runtime's times: two processes with its listener and a constant answer.

`python -m benchmarks.runtime_empty <port>`
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from serving_runtime.http.listener import Listener
from serving_runtime.process.serve import open_socket
from serving_runtime.settings import read_settings

WORKERS: Final = 2


async def empty(
    _: Any, receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    while (await receive()).get("more_body"):
        continue
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
        }
    )
    await send({"type": "http.response.body", "body": b"{}"})


def main() -> None:
    settings = read_settings({"host": "127.0.0.1", "port": sys.argv[1]}, {}, cpus=float(WORKERS))
    sock = open_socket(settings)
    children = [pid for _ in range(WORKERS - 1) if (pid := os.fork())]
    gc.collect()
    gc.freeze()
    listener = Listener(empty, settings)  # type: ignore[arg-type]  # any ASGI callable will do

    def started(loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGTERM, listener.stop)

    listener.listen([sock], started=started)
    for pid in children:
        os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
