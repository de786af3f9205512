"""`model-api-runtime serve`, from its settings to its end."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from serving_runtime.application import Application
from serving_runtime.errors import ServingError
from serving_runtime.http.listener import Listener
from serving_runtime.http.tokens import Tokens, tokens_in
from serving_runtime.location import resolve_model_path
from serving_runtime.mlmodel import identity
from serving_runtime.observability import logs
from serving_runtime.observability.capture import Recorder, destination
from serving_runtime.observability.metrics import Metrics, shared_numbers
from serving_runtime.observability.shared_metrics import SharedMetrics
from serving_runtime.options import Coerce, Loader
from serving_runtime.prediction.lifecycle import Draining, Lifecycle
from serving_runtime.prediction.worker_context import WorkerContext
from serving_runtime.process.placeholder_server import PlaceholderServer
from serving_runtime.process.preload import ModelSource
from serving_runtime.process.supervisor import Supervisor
from serving_runtime.settings import ServeSettings, UnavailableAddressError

BACKLOG: Final = 2048  # connections that wait while all workers are busy; the kernel may allow fewer
PLACEHOLDER_WORKER: Final = 0  # gunicorn numbers its workers from 1
LAST_ANSWERS: Final = 0.02  # seconds
EVERY_ADDRESS: Final = {
    "0.0.0.0": "localhost",  # noqa: S104  what a browser calls it
    "::": "localhost",
    "": "localhost",
}

_log = logging.getLogger(__name__)


class ServerFailedError(ServingError):
    """No worker could start."""


def serve(settings: ServeSettings, environ: Mapping[str, str]) -> NoReturn:
    """Serves until it is asked to end.

    Raises SystemExit, in the supervisor and in its workers; ServingError where the model cannot be served;
    ContractError where it is not said which, or where the address or the tokens cannot be had.
    """
    logs.configure()
    for number in (signal.SIGTERM, signal.SIGINT):  # the first process of a container has no default action
        signal.signal(number, lambda *_: sys.exit(0))
    path = resolve_model_path(environ)
    settings = _identified(settings, path)
    destination(settings.capture, environ)
    tokens = tokens_in(settings.token_file)
    sock = open_socket(settings)
    _log.info("the model loads; its page is at the address of docs", extra={"fields": _addresses(settings)})
    numbers = shared_numbers(settings.workers)
    with PlaceholderServer.start(partial(_answer_without_model, settings, sock, numbers, tokens)) as placeholder:
        model_source = ModelSource(path, loader_for(settings), require_match=settings.require_match)
        _supervise(Supervisor(settings, sock.detach(), placeholder, model_source, numbers))


def _identified(settings: ServeSettings, path: Path) -> ServeSettings:
    name, version = identity(path, settings.model_name, settings.model_version)
    return replace(settings, model_name=name, model_version=version or "")


def _addresses(settings: ServeSettings) -> dict[str, str]:
    host = EVERY_ADDRESS.get(settings.host, settings.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    return {
        "model": settings.model_name,
        "address": address,
        "docs": f"{address}/docs",
        "predictions": f"{address}/invocations",
    }


def loader_for(settings: ServeSettings) -> Loader:
    """To cast as MLflow does takes MLflow's own check of what was cast. Without a call nothing shows that native
    predictions are right.
    """
    mlflow = settings.coerce is Coerce.MLFLOW or not settings.warm_up
    return Loader.MLFLOW if mlflow and settings.loader is Loader.AUTO else settings.loader


def open_socket(settings: ServeSettings) -> socket.socket:
    """Listens already: what comes before a process accepts is not refused but waits. Raises UnavailableAddressError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=settings.host == "::")
    except OSError as error:
        raise UnavailableAddressError(settings, error) from error


def _answer_without_model(
    settings: ServeSettings, sock: socket.socket, numbers: SharedMetrics, tokens: Tokens | None, wire: socket.socket
) -> None:
    context = WorkerContext(
        metrics=Metrics(numbers, numbers.take(PLACEHOLDER_WORKER)), recorder=Recorder(), tokens=tokens
    )
    listener = Listener(Application(Lifecycle(None, Draining()), settings, context), settings)
    listener.listen([sock], started=lambda loop: loop.add_reader(wire, _leave, listener, wire, loop))


def _leave(listener: Listener, wire: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """More quickly than a listener stops that may have to wait for answers; what has just been sent
    still gets its own.
    """
    if listener.started:  # else it is called again at once
        loop.remove_reader(wire)
        for server in listener.servers:
            server.close()
        loop.call_later(LAST_ANSWERS, os._exit, 0)


def _supervise(supervisor: Supervisor) -> NoReturn:
    process = os.getpid()
    try:
        supervisor.run()
    except SystemExit as end:
        if end.code and os.getpid() == process:  # workers come here too
            raise ServerFailedError(
                supervisor.startup_error.heard() or "no worker could start; the log says why"
            ) from None
        raise
