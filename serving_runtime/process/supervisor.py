"""gunicorn around the model: it keeps the workers, replaces those that die, and ends them in the right order."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from model_contract.shared_metrics import SharedMetrics
from serving_runtime.application import Application
from serving_runtime.errors import ServingError
from serving_runtime.http.listener import Listener
from serving_runtime.http.tokens import tokens_in
from serving_runtime.observability.metrics import Metrics
from serving_runtime.observability.recorders import recorder
from serving_runtime.observability.tracing import new_tracer
from serving_runtime.prediction.handler import PredictionHandler, describe_for_clients
from serving_runtime.prediction.warm_up import WarmUpResult, warm_up_for_merging
from serving_runtime.prediction.worker_context import Draining, LoadedModel, WorkerContext
from serving_runtime.process import lazy
from serving_runtime.process.body_reader import BodyReader
from serving_runtime.process.cpus import usable_cpus
from serving_runtime.process.mlflow_comparison import MlflowComparison
from serving_runtime.process.placeholder_server import PlaceholderServer
from serving_runtime.process.preload import PreloadedModel
from serving_runtime.process.worker import RuntimeWorker, WorkerParts
from serving_runtime.settings import ServeSettings

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  writable in a container whose root is not
# Added to the deadline of a request: a worker that is silent for longer has a model that never releases Python's GIL.
# The meaning of `--timeout` in settings.py names this number.
HANGS_AFTER: Final = 30  # seconds
LONGEST_STARTUP_ERROR: Final = 4000  # bytes; so many go through a pipe whole

NOT_WARMED: Final = "the server was started with --warm-up false"

_log = logging.getLogger(__name__)


class ServerFailedError(ServingError):
    """No worker could start."""


def supervise(
    settings: ServeSettings,
    listening: tuple[int, ...],
    placeholder: PlaceholderServer,
    preloaded: PreloadedModel,
    metrics: SharedMetrics,
) -> NoReturn:
    """Keep the workers until the server is asked to end.

    Raises SystemExit, in the supervisor and in every worker; ServerFailedError; TokenFileError.
    """
    supervisor = Supervisor(settings, listening, placeholder, preloaded, metrics)
    process = os.getpid()
    try:
        supervisor.run()
    except SystemExit as end:
        if end.code and os.getpid() == process:  # workers come here too
            raise ServerFailedError(
                supervisor.startup_error.first() or "no worker could start; the log says why"
            ) from None
        raise


class StartupErrorPipe:
    """The reason why a worker could not start, sent to the supervisor. The pipe is made before the fork.

    Workers fail for the same reason at the same moment: the first reason is read.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def report(self, text: str) -> None:
        os.write(self._write, text.replace("\n", " ").encode()[:LONGEST_STARTUP_ERROR] + b"\n")

    def first(self) -> str | None:
        try:
            return os.read(self._read, LONGEST_STARTUP_ERROR + 1).decode(errors="replace").splitlines()[0]
        except BlockingIOError:
            return None


class Supervisor(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """The state that the workers share. Raises TokenFileError.

    `listening` has the descriptor of the socket of HTTP, then that of the one that keeps the port of gRPC.
    """

    def __init__(
        self,
        settings: ServeSettings,
        listening: tuple[int, ...],
        placeholder: PlaceholderServer,
        preloaded: PreloadedModel,
        metrics: SharedMetrics,
    ) -> None:
        self.settings = settings
        self.placeholder = placeholder
        self.preloaded = preloaded
        self.metrics = metrics
        self.tokens = tokens_in(settings.token_file)
        self.comparison = MlflowComparison.start(preloaded, placeholder, listening)
        self.startup_error = StartupErrorPipe()
        self.draining = Draining()
        self._listening = listening
        super().__init__()

    def run(self) -> NoReturn:
        """Raises SystemExit, in the supervisor and in every worker."""
        _Arbiter(self).run()
        raise SystemExit

    def worker_parts(self, row: int, beat: Callable[[], Awaitable[None]]) -> WorkerParts:
        """Return the parts of a worker, with a model that has made predictions. Raises ServingError."""
        model = self.preloaded.for_worker()
        warm_up = warm_up_for_merging(model) if self.settings.warm_up else WarmUpResult(against_merging=NOT_WARMED)
        if warm_up.example_problem and not model.example_problem:  # else it was logged when the model was preloaded
            _log.warning(warm_up.example_problem)
        if warm_up.against_merging and self.settings.batch.rows is None:
            _log.info("requests are not merged", extra={"fields": {"reason": warm_up.against_merging}})
        served = describe_for_clients(model, self.settings, warm_up, guarded=self.tokens is not None)
        reader = BodyReader.start(served)
        loaded = LoadedModel(model=model, served=served, warm_up=warm_up)
        metrics = Metrics(self.metrics, row)
        context = WorkerContext(
            metrics=metrics,
            recorder=recorder(self.settings, os.environ, model.metadata, metrics),
            draining=self.draining,
            tokens=self.tokens,
            loaded=loaded,
            read_large=reader.read,
            tracer=new_tracer(
                os.environ,
                {"name": served.name, "version": served.version or ""},
                metrics,
                usable_cpus() / self.settings.workers,
            ),
        )
        application = Application(self.settings, context, partial(PredictionHandler, loaded, self.settings, context))
        listener = Listener(application, self.settings, notify=beat)
        rpc = None
        if self.settings.grpc_port is not None:
            rpc = lazy.RpcServer(self.settings, context, application.prediction_handler)
        return WorkerParts(listener=listener, context=context, body_reader=reader, rpc=rpc)

    def load_config(self) -> None:
        for name, value in self._options().items():
            if name in self.cfg.settings:  # an older gunicorn lacks some
                self.cfg.set(name, value)

    def _options(self) -> dict[str, Any]:
        return {
            "bind": [f"fd://{self._listening[0]}"],
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
        worker.row = self.metrics.take(worker.age)

    def _worker_ended(self, arbiter: Arbiter, worker: RuntimeWorker) -> None:
        """End the server if no worker is ready yet: each replacement would fail in the same way, without an error."""
        if lost := Metrics(self.metrics, worker.row).capture_ended():
            _log.error(
                "a worker ended before it had written all recorded predictions",
                extra={"fields": {"lost_requests": lost}},
            )
        self.metrics.leave(worker.age)
        if arbiter.LISTENERS and not self.placeholder.gone:
            self.startup_error.report(
                "a worker ended before its model had made a prediction: killed, out of memory, or crashed"
            )
            raise HaltServer("a worker ended before it was ready", Arbiter.WORKER_BOOT_ERROR)


class _Arbiter(Arbiter):  # type: ignore[misc]  # as above
    """gunicorn's arbiter, which delays the end: Services still send requests for a while after SIGTERM."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM)

    def init_signals(self) -> None:
        super().init_signals()
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(signal.SIGHUP, self.signal)

    def handle_term(self) -> None:
        if not self.app.draining:
            self.app.draining.begin()
            _log.info("asked to stop: readiness says no", extra={"fields": {"seconds": self.app.settings.drain_delay}})
            signal.setitimer(signal.ITIMER_REAL, self.app.settings.drain_delay or 0.001)

    def handle_hup(self) -> None:
        """End as after SIGTERM; gunicorn would begin new workers of the same model."""
        self.handle_term()

    def handle_alrm(self) -> None:
        """End the server after the delay."""
        raise StopIteration

    def reap_workers(self) -> None:
        """Reap ended children. If the ended comparison process found a difference, replace the workers.

        A server that ends has no sockets any more, and needs no other workers.
        """
        if self.LISTENERS and self.app.comparison.found_difference() and self.app.preloaded.fall_back_to_mlflow():
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
