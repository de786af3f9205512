"""gunicorn with the app: one process with threads, TLS with a changing certificate, metrics on their own port."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from prometheus_client import start_http_server

from model_contract import json_log
from webhook.server.app import create_app
from webhook.server.metrics import Metrics
from webhook.server.settings import ServerSettings
from webhook.server.slow_clients import SlowClientWorker
from webhook.server.tls import LoadedCertificate, ServerCertificate
from webhook.settings import Settings

if TYPE_CHECKING:
    from webhook.certificates.reconciler import CertificateReconciler

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  writable in a container whose root is not


def configure_logs(level: str) -> None:
    """Write the lines of every logger of the process, gunicorn's too, as JSON to standard output."""
    formatter = json_log.JsonFormatter(_log_line, names_logger=False, traceback_field="traceback")
    json_log.configure(sys.stdout, formatter, level=level.upper())
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each request to the Kubernetes API


def _log_line(line: dict[str, Any]) -> str:
    return orjson.dumps(line, default=str).decode()


class Supervisor(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """Runs until SIGTERM. Raises CertificateError at the start."""

    def __init__(self, settings: Settings, server: ServerSettings) -> None:
        self._settings = settings
        self._server = server
        self._metrics = Metrics()
        self._reconciler = self._new_reconciler()
        if self._reconciler:
            self._reconciler.wait_for_pair()
        self._certificate = ServerCertificate(server, self._reloaded)
        self._metrics.valid_until(self._certificate.not_after)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options().items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        max_body = self._server.max_body.bytes
        return create_app(self._settings, self._metrics, max_body=max_body, fault=self._fault)

    def _options(self) -> dict[str, Any]:
        server = self._server
        return {
            "bind": [f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"],
            "workers": 1,  # replicas give more capacity, and one process has one set of metrics
            "worker_class": SlowClientWorker,
            "threads": server.threads,
            "keepalive": server.keepalive,
            "graceful_timeout": server.graceful_timeout,
            "certfile": str(server.certificate_file),
            "keyfile": str(server.key_file),
            "ssl_context": lambda _config, _default: self._certificate.context(),
            "control_socket_disable": True,
            "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
            "logger_class": RootLogger,
            "post_worker_init": self._in_worker,
            "proc_name": "model-api-webhook",
        }

    def _in_worker(self, _: Any) -> None:
        """Start threads and connections, which do not survive the fork."""
        start_http_server(self._server.metrics_port, self._server.host, self._metrics.registry)
        self._reconciler = self._new_reconciler()
        if self._reconciler:
            self._reconciler.start()

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
        return self._certificate.fault() or (self._reconciler.fault() if self._reconciler else None)

    def _reloaded(self, good: bool, served: LoadedCertificate) -> None:
        self._metrics.reloaded(good=good, not_after=served.not_after)


class RootLogger(Logger):  # type: ignore[misc]  # as above
    """Writes gunicorn's own messages as the JSON of all other messages."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)
