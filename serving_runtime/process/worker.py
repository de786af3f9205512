"""One worker of the supervisor: gets the model, warms it up, then accepts requests."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from serving_runtime.errors import ServingError
from serving_runtime.http.listener import Listener
from serving_runtime.prediction.worker_context import WorkerContext
from serving_runtime.process.body_reader import BodyReader
from serving_runtime.process.parent_death import end_with

if TYPE_CHECKING:
    from serving_runtime.rpc.server import RpcServer

HEARTBEAT: Final = 1.0  # seconds
# New objects after which Python collects the young generation: a request makes some hundred, and frees nearly all.
YOUNG_OBJECTS: Final = 20_000
PAUSE: Final = 1.0  # seconds between two tries to replace a worker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """The servers of a worker, its state, and its reader of large bodies. `rpc` is None if gRPC is off."""

    listener: Listener
    context: WorkerContext
    body_reader: BodyReader
    rpc: "RpcServer | None"


class RuntimeWorker(Worker):  # type: ignore[misc]  # gunicorn ships no types
    """The supervisor's `app` is a `Supervisor`."""

    row: int  # of the metrics that all workers share
    _parts: WorkerParts

    def init_signals(self) -> None:
        """Restore the default actions of signals, which end a worker that has accepted no connection.

        Later the event loop handles the signals that must end a worker gently.
        """
        end_with(self.ppid)
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # A terminal sends SIGINT, and SIGHUP at its end, to all processes; the supervisor then ends its workers.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def load_wsgi(self) -> None:
        """Load the model."""
        try:
            with self._beating():
                self._parts = self.app.worker_parts(self.row, self._beat)
        except ServingError as error:
            self._end_unready(str(error))
        except OSError as error:  # such as too many open files
            _log.exception("a worker cannot start")
            self._end_unready(f"a worker cannot start: {error.strerror or error}")
        # A full garbage collection would visit all loaded objects, for tens of milliseconds, and can free none of them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)

    def run(self) -> None:
        sockets = [listener.sock for listener in self.sockets]
        try:
            self._parts.listener.listen(sockets, started=self._begin, second_server=self._parts.rpc)
        except (OSError, RuntimeError) as error:  # of the event loop, or of gRPC
            _log.exception("a worker failed")
            self._end_unready(f"a worker cannot start: {getattr(error, 'strerror', None) or error}")
        self._parts.body_reader.end()
        self._parts.context.recorder.finish()
        if self._parts.context.tracer is not None:
            self._parts.context.tracer.finish()

    def _end_unready(self, reason: str) -> NoReturn:
        """End the worker: the whole server, if none has been ready yet, else this worker, which is replaced."""
        if self.app.placeholder.gone:
            _log.error("a worker cannot start; another one will try", extra={"fields": {"reason": reason}})
            time.sleep(PAUSE)
            sys.exit(1)
        self.app.startup_error.report(reason)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals, and the connections of the placeholder server, as soon as nothing can fail any more."""
        self.app.placeholder.stop()
        loop.add_signal_handler(signal.SIGTERM, self._begin_end)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)

    def _begin_end(self) -> None:
        if self._parts.rpc:
            self._parts.rpc.begin_end()
        self._parts.listener.stop()

    async def _beat(self) -> None:
        self.notify()
        # Without the supervisor nothing can end this worker; without its reader it is replaced.
        if os.getppid() != self.ppid or self._parts.body_reader.ended:
            self._parts.listener.stop()

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Notify the supervisor during a long load, so that it does not take this worker for a hanging one."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT):
                self.notify()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
