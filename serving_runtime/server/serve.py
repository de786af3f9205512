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

from serving_runtime.errors import ServingError
from serving_runtime.input.coerce import Coerce
from serving_runtime.loaders.choice import Loader
from serving_runtime.location import resolve_model_path
from serving_runtime.mlmodel import identity
from serving_runtime.server import logs
from serving_runtime.server.asgi import Application
from serving_runtime.server.capture import Recorder, destination
from serving_runtime.server.lifecycle import Draining, Lifecycle
from serving_runtime.server.listen import Listener
from serving_runtime.server.metrics import Metrics, shared_numbers
from serving_runtime.server.models import Models
from serving_runtime.server.settings import ServeSettings, UnavailableAddressError
from serving_runtime.server.shared_numbers import SharedNumbers
from serving_runtime.server.stand_in import StandIn
from serving_runtime.server.supervisor import Supervisor
from serving_runtime.server.token import Tokens, tokens_in
from serving_runtime.server.workplace import Workplace

BACKLOG: Final = 2048  # connections that wait while all workers are busy; the kernel may allow fewer
STAND_IN: Final = 0  # gunicorn numbers its workers from 1
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
    with StandIn.start(partial(_answer_without_model, settings, sock, numbers, tokens)) as stand_in:
        models = Models(path, loader_for(settings), require_match=settings.require_match)
        _supervise(Supervisor(settings, sock.detach(), stand_in, models, numbers))


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
    settings: ServeSettings, sock: socket.socket, numbers: SharedNumbers, tokens: Tokens | None, wire: socket.socket
) -> None:
    workplace = Workplace(metrics=Metrics(numbers, numbers.take(STAND_IN)), recorder=Recorder(), tokens=tokens)
    listener = Listener(Application(Lifecycle(None, Draining()), settings, workplace), settings)
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
                supervisor.last_words.heard() or "no worker could start; the log says why"
            ) from None
        raise
