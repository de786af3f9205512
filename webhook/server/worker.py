"""A worker of the supervisor: an event loop that answers the connections of one process."""

import asyncio
import fcntl
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import uvloop
from gunicorn.workers.base import Worker

from webhook.server.connections import Acceptor, Connections
from webhook.server.tls import ServerCertificate

TICK: Final = 1.0  # seconds
STOP_TICK: Final = 0.1  # seconds, while the last connections end
# New objects after which Python collects the young generation: a review makes some hundred, and frees nearly all.
YOUNG_OBJECTS: Final = 20_000
SWITCH_INTERVAL: Final = 0.001  # seconds after which a large review lets the small ones run; Python has 5 ms

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """The parts of a worker that the supervisor makes."""

    connections: Connections
    certificate: ServerCertificate
    single_tasks: "SingleProcessTasks"


class SingleProcessTasks:
    """Tasks that only one process of the server runs. When that process ends, another one takes them over.

    A lock on a file, which is made before the fork, decides. The kernel releases the lock when its process ends.
    """

    def __init__(self, start: Callable[[], None]) -> None:
        """`start` begins the tasks, in threads."""
        self._file = os.memfd_create("model-api-webhook-single-tasks")
        self._start = start

    def start_or_wait(self) -> None:
        """Start the tasks if no other process runs them, else when that one has ended. Raises what `start` raises."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Thread(target=self._wait, daemon=True).start()
        else:
            self._start()

    def _wait(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            self._start()
        except Exception:  # noqa: BLE001  the edge of a thread
            _log.exception("this process could not take over the work of one that ended; it is replaced")
            os.kill(os.getpid(), signal.SIGTERM)


class ReviewWorker(Worker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's worker class. Its `app` is the `Supervisor`."""

    row: int  # of the metrics that all workers share
    _parts: WorkerParts

    def init_signals(self) -> None:
        """Restore the default actions, which end a worker that has accepted nothing. The event loop handles SIGTERM."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # A terminal sends SIGINT to all processes; the supervisor then ends its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def load_wsgi(self) -> None:
        self._parts = self.app.worker_parts(self.row)
        gc.set_threshold(YOUNG_OBJECTS)
        sys.setswitchinterval(SWITCH_INTERVAL)

    def run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        loop, asked_to_stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, asked_to_stop.set)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)
        self._parts.single_tasks.start_or_wait()
        acceptor = Acceptor(self.sockets, self._parts.connections, self._parts.certificate.context)
        while not asked_to_stop.is_set() and os.getppid() == self.ppid:
            self._tick()
            acceptor.update()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await asked_to_stop.wait()
        acceptor.stop()
        self._parts.connections.stop()
        until = time.monotonic() + self.cfg.graceful_timeout
        while self._parts.connections.count and time.monotonic() < until:
            self._tick()
            await asyncio.sleep(STOP_TICK)

    def _tick(self) -> None:
        self.notify()
        self._parts.connections.tick()
        self._parts.certificate.context()  # so that every process sees a change of the files, also without a client
