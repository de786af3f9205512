"""gunicorn around the model: it keeps the workers, replaces those that die, and ends them in the right order."""

import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from serving_runtime.server.asgi import Application
from serving_runtime.server.last_words import LastWords
from serving_runtime.server.lifecycle import Draining, Lifecycle
from serving_runtime.server.listen import Listener
from serving_runtime.server.settings import ServeSettings
from serving_runtime.server.stand_in import StandIn
from serving_runtime.server.worker import RuntimeWorker

if TYPE_CHECKING:
    from serving_runtime.model import Model

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  writable in a container whose root is not
# Beyond the deadline of a request: a worker that is silent so long has a model that keeps the interpreter to itself.
HANGS_AFTER: Final = 30  # seconds

_log = logging.getLogger(__name__)


class Supervisor(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """What the workers share: `listening` is a socket's descriptor, `model` gives each of them the model, by a fork or by a load."""

    def __init__(self, settings: ServeSettings, listening: int, stand_in: StandIn, model: Callable[[], "Model"]) -> None:
        self.settings = settings
        self.stand_in = stand_in
        self.last_words = LastWords()
        self.draining = Draining()
        self._listening = listening
        self._model = model
        super().__init__()

    def run(self) -> NoReturn:
        """Raises SystemExit, in the supervisor and in every worker."""
        _Arbiter(self).run()
        raise SystemExit

    def listener(self, beat: Callable[[], Awaitable[None]]) -> Listener:
        """A worker's listener, with a model that has made a prediction. Raises ServingError."""
        model = self._model()
        model.warm_up()
        return Listener(Application(Lifecycle(model, self.draining), self.settings), self.settings, notify=beat)

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
            "child_exit": self._worker_ended,
            "proc_name": "model-api-runtime",
        }

    def _worker_ended(self, arbiter: Arbiter, _: RuntimeWorker) -> None:
        """The next worker would end as this one did, and so on, while the stand-in tells everybody to wait."""
        if arbiter.LISTENERS and not self.stand_in.gone:
            self.last_words.say("a worker ended before its model had made a prediction: killed, out of memory, or crashed")
            raise HaltServer("a worker ended before it was ready", Arbiter.WORKER_BOOT_ERROR)


class _Arbiter(Arbiter):  # type: ignore[misc]  # as above
    """gunicorn's, which would close its sockets at SIGTERM, when Services still send requests: first it says that it will."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM)

    def handle_term(self) -> None:
        if not self.app.draining:
            self.app.draining.begin()
            _log.info("asked to stop: readiness says no", extra={"fields": {"seconds": self.app.settings.drain_delay}})
            signal.setitimer(signal.ITIMER_REAL, self.app.settings.drain_delay or 0.001)

    def handle_alrm(self) -> None:
        """The delay is over."""
        raise StopIteration

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
