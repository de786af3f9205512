"""gunicorn around the workers: it keeps them, replaces those that die, and ends them.

The settings, the certificate and the memory of the metrics are made before the fork. Metrics have their own port.
"""

import gc
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from model_contract import json_log
from webhook.server.app import create_app, page
from webhook.server.connections import Connections
from webhook.server.metrics import Metrics
from webhook.server.reviews import Reviews
from webhook.server.settings import ServerSettings
from webhook.server.tls import LoadedCertificate, ServerCertificate
from webhook.server.worker import ReviewWorker, SingleProcessTasks, WorkerParts
from webhook.settings import Settings

if TYPE_CHECKING:
    from webhook.certificates.reconciler import CertificateReconciler

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  writable in a container whose root is not


def configure_logs(level: str) -> None:
    """Write the lines of every logger of the process, gunicorn's too, as JSON to standard output."""
    formatter = json_log.JsonFormatter(_log_line, names_logger=False, traceback_field="traceback")
    json_log.configure(sys.stdout, formatter, level=level.upper())
    # A record asks for its thread and its process, which no line shows.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each request to the Kubernetes API


def _log_line(line: dict[str, Any]) -> str:
    return orjson.dumps(line, default=str).decode()


class Supervisor(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """The state that the workers share. It runs until SIGTERM. Raises CertificateError at the start."""

    def __init__(self, settings: Settings, server: ServerSettings) -> None:
        self._settings = settings
        self._server = server
        self._metrics = Metrics(server.workers)
        self._untrusted: str | None = None  # the reason why a worker is not ready before the certificate is trusted
        if reconciler := self._new_reconciler():
            self._untrusted = reconciler.fault()
            reconciler.wait_for_pair()
        self._certificate = ServerCertificate(server, self._reloaded)
        self._metrics.valid_until(self._certificate.not_after)
        self._single_tasks = SingleProcessTasks(self._start_single_tasks)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options().items():
            self.cfg.set(name, value)

    def worker_parts(self, row: int) -> WorkerParts:
        """Return the parts of a worker. Call it in the worker."""
        self._metrics.use_row(row)
        pages = create_app(self._fault)
        reviews = Reviews(self._settings, self._metrics)
        connections = Connections(self._server, self._metrics, reviews, partial(page, pages))
        return WorkerParts(connections=connections, certificate=self._certificate, single_tasks=self._single_tasks)

    def _options(self) -> dict[str, Any]:
        server = self._server
        return {
            "bind": [f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"],
            "workers": server.workers,
            "worker_class": ReviewWorker,
            "graceful_timeout": server.graceful_timeout,
            # Only makes gunicorn log an https address: each connection gets the current certificate.
            "certfile": str(server.certificate_file),
            "keyfile": str(server.key_file),
            "control_socket_disable": True,
            "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
            "logger_class": RootLogger,
            "when_ready": _share_memory,
            "pre_fork": self._worker_begins,
            "child_exit": self._worker_ended,
            "proc_name": "model-api-webhook",
        }

    def _worker_begins(self, _: Arbiter, worker: ReviewWorker) -> None:
        worker.row = self._metrics.shared.take(worker.age)

    def _worker_ended(self, _: Arbiter, worker: ReviewWorker) -> None:
        self._metrics.shared.leave(worker.age)

    def _start_single_tasks(self) -> None:
        """Start the threads that one worker has: the metrics' server, and the reconciler of the certificate."""
        self._metrics.serve(self._server.host, self._server.metrics_port)
        if reconciler := self._new_reconciler():
            reconciler.start()

    def _new_reconciler(self) -> "CertificateReconciler | None":
        if self._server.certificates == "files":
            return None
        from webhook.certificates.reconciler import (  # noqa: PLC0415  a Kubernetes client is large, and only this mode needs one
            reconciler_of_pod,
        )

        return reconciler_of_pod(
            self._settings.namespace, self._server.certificate_file, self._server.key_file, self._metrics.reconciled
        )

    def _fault(self) -> str | None:
        return self._certificate.fault() or (None if self._metrics.in_sync else self._untrusted)

    def _reloaded(self, good: bool, served: LoadedCertificate) -> None:
        self._metrics.reloaded(good=good, not_after=served.not_after)


def _share_memory(_: Arbiter) -> None:
    """Keep the present objects out of the workers' garbage collections, which would copy the shared memory."""
    gc.collect()
    gc.freeze()


class RootLogger(Logger):  # type: ignore[misc]  # as above
    """Writes gunicorn's own messages as the JSON of all other messages."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)
