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

from serving_runtime.application import Application
from serving_runtime.http.listener import Listener
from serving_runtime.http.tokens import tokens_in
from serving_runtime.observability.capture import recorder
from serving_runtime.observability.metrics import Metrics
from serving_runtime.observability.shared_metrics import SharedMetrics
from serving_runtime.prediction.lifecycle import Draining, Lifecycle
from serving_runtime.prediction.worker_context import WorkerContext
from serving_runtime.process.mlflow_comparison import MlflowComparison
from serving_runtime.process.placeholder_server import PlaceholderServer
from serving_runtime.process.preload import ModelSource
from serving_runtime.process.startup_error import StartupErrorPipe
from serving_runtime.process.worker import RuntimeWorker
from serving_runtime.settings import ServeSettings

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  writable in a container whose root is not
# Beyond the deadline of a request: a worker that is silent so long has a model that keeps the interpreter to itself.
HANGS_AFTER: Final = 30  # seconds

NOT_WARMED: Final = "the server was started with --warm-up false"

_log = logging.getLogger(__name__)


class Supervisor(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """What the workers share: `listening` is a socket's descriptor, `model_source` gives each of them the model, by a fork or
    by a load.

    Raises TokenFileError.
    """

    def __init__(
        self,
        settings: ServeSettings,
        listening: int,
        placeholder: PlaceholderServer,
        model_source: ModelSource,
        numbers: SharedMetrics,
    ) -> None:
        self.settings = settings
        self.placeholder = placeholder
        self.model_source = model_source
        self.numbers = numbers
        self.tokens = tokens_in(settings.token_file)
        self.comparison = MlflowComparison.start(model_source, placeholder, listening)
        self.startup_error = StartupErrorPipe()
        self.draining = Draining()
        self._listening = listening
        super().__init__()

    def run(self) -> NoReturn:
        """Raises SystemExit, in the supervisor and in every worker."""
        _Arbiter(self).run()
        raise SystemExit

    def listener(self, row: int, beat: Callable[[], Awaitable[None]]) -> tuple[Listener, WorkerContext]:
        """A worker's listener, with a model that has made predictions. Raises ServingError."""
        from serving_runtime.prediction.warm_up import (  # noqa: PLC0415  pandas is loaded with the model, not before it
            WarmUpResult,
            warm_up_and_measure,
        )

        model = self.model_source.model_for_worker()
        warmed = warm_up_and_measure(model) if self.settings.warm_up else WarmUpResult(against=NOT_WARMED)
        if warmed.against and self.settings.batch.rows is None:
            _log.info("requests are not merged", extra={"fields": {"reason": warmed.against}})
        context = WorkerContext(
            metrics=Metrics(self.numbers, row),
            recorder=recorder(self.settings, os.environ),
            tokens=self.tokens,
            may_merge=warmed.against is None,
            against=warmed.against,
            timings=warmed.timings,
        )
        application = Application(Lifecycle(model, self.draining), self.settings, context)
        return Listener(application, self.settings, notify=beat), context

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
        if arbiter.LISTENERS and not self.placeholder.gone:
            self.startup_error.say(
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
        """One of the children that have ended may be the comparison. A server that ends has no sockets any more, and needs no
        other workers.
        """
        if self.LISTENERS and self.app.comparison.differs() and self.app.model_source.fall_back():
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
