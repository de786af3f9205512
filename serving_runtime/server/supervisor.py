"""gunicorn around the model: it keeps the workers, replaces those that die, and ends them in the right order."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from serving_runtime.server.asgi import Application
from serving_runtime.server.capture import recorder
from serving_runtime.server.last_words import LastWords
from serving_runtime.server.lifecycle import Draining, Lifecycle
from serving_runtime.server.listen import Listener
from serving_runtime.server.metrics import Metrics
from serving_runtime.server.models import Models
from serving_runtime.server.settings import ServeSettings
from serving_runtime.server.shared_numbers import SharedNumbers
from serving_runtime.server.stand_in import StandIn
from serving_runtime.server.token import tokens_in
from serving_runtime.server.twin import Twin
from serving_runtime.server.worker import RuntimeWorker
from serving_runtime.server.workplace import Workplace

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  writable in a container whose root is not
# Beyond the deadline of a request: a worker that is silent so long has a model that keeps the interpreter to itself.
HANGS_AFTER: Final = 30  # seconds

NOT_WARMED: Final = "the server was started with --warm-up false"

_log = logging.getLogger(__name__)


class Supervisor(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """What the workers share: `listening` is a socket's descriptor, `models` gives each of them the model, by a fork or
    by a load.

    Raises TokenFileError.
    """

    def __init__(
        self, settings: ServeSettings, listening: int, stand_in: StandIn, models: Models, numbers: SharedNumbers
    ) -> None:
        self.settings = settings
        self.stand_in = stand_in
        self.models = models
        self.numbers = numbers
        self.tokens = tokens_in(settings.token_file)
        self.twin = Twin.start(models, stand_in, listening)
        self.last_words = LastWords()
        self.draining = Draining()
        self._listening = listening
        super().__init__()

    def run(self) -> NoReturn:
        """Raises SystemExit, in the supervisor and in every worker."""
        _Arbiter(self).run()
        raise SystemExit

    def listener(self, row: int, beat: Callable[[], Awaitable[None]]) -> tuple[Listener, Workplace]:
        """A worker's listener, with a model that has made predictions. Raises ServingError."""
        from serving_runtime.batching import (  # noqa: PLC0415  pandas is loaded with the model, not before it
            Rehearsal,
            rehearse,
        )

        model = self.models.one()
        rehearsal = rehearse(model) if self.settings.warm_up else Rehearsal(against=NOT_WARMED)
        if rehearsal.against and self.settings.batch.rows is None:
            _log.info("requests are not merged", extra={"fields": {"reason": rehearsal.against}})
        workplace = Workplace(
            metrics=Metrics(self.numbers, row),
            recorder=recorder(self.settings, os.environ),
            tokens=self.tokens,
            may_merge=rehearsal.against is None,
            against=rehearsal.against,
            timings=rehearsal.timings,
        )
        application = Application(Lifecycle(model, self.draining), self.settings, workplace)
        return Listener(application, self.settings, notify=beat), workplace

    def load_config(self) -> None:
        for name, value in self._options().items():
            if name in self.cfg.settings:  # an older gunicorn lacks some
                self.cfg.set(name, value)

    def _options(self) -> dict[str, Any]:
        return {
            "bind": [f"fd://{self._listening}"],
            "workers": self.settings.workers,
            "worker_class": RuntimeWorker,
            "timeout": int(self.settings.timeout) + HANGS_AFTER,
            "graceful_timeout": int(self.settings.stop_timeout) + 2,  # the worker cuts its connections first
            "control_socket_disable": True,
            "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
            "logger_class": RootLogger,
            "pre_fork": self._worker_begins,
            "child_exit": self._worker_ended,
            "proc_name": "model-api-runtime",
        }

    def _worker_begins(self, _: Arbiter, worker: RuntimeWorker) -> None:
        worker.row = self.numbers.take(worker.age)

    def _worker_ended(self, arbiter: Arbiter, worker: RuntimeWorker) -> None:
        """The next worker would end as this one did, and so on, while the stand-in tells everybody to wait."""
        self.numbers.leave(worker.age)
        if arbiter.LISTENERS and not self.stand_in.gone:
            self.last_words.say(
                "a worker ended before its model had made a prediction: killed, out of memory, or crashed"
            )
            raise HaltServer("a worker ended before it was ready", Arbiter.WORKER_BOOT_ERROR)


class _Arbiter(Arbiter):  # type: ignore[misc]  # as above
    """gunicorn's, which would close its sockets at SIGTERM, when Services still send requests: first it says that it
    will.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM)

    def handle_term(self) -> None:
        if not self.app.draining:
            self.app.draining.begin()
            _log.info("asked to stop: readiness says no", extra={"fields": {"seconds": self.app.settings.drain_delay}})
            signal.setitimer(signal.ITIMER_REAL, self.app.settings.drain_delay or 0.001)

    def handle_alrm(self) -> None:
        """The delay is over."""
        raise StopIteration

    def reap_workers(self) -> None:
        """One of the children that have ended may be the twin. A server that ends has no sockets any more, and needs no
        other workers.
        """
        if self.LISTENERS and self.app.twin.differs() and self.app.models.fall_back():
            for _ in range(self.num_workers):
                self.spawn_worker()
            self.manage_workers()  # ends the oldest
        super().reap_workers()

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        try:
            super().halt(reason, exit_status)
        except HaltServer:  # while the others are asked to end, a second worker fails as the first did
            self.kill_workers(signal.SIGKILL)
            raise SystemExit(exit_status) from None


class RootLogger(Logger):  # type: ignore[misc]  # as above
    """gunicorn's own messages in the form of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
