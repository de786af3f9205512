"""`model-api-runtime serve`, from its settings to its end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from serving_runtime.errors import ServingError
from serving_runtime.location import resolve_model_path
from serving_runtime.server import logs
from serving_runtime.server.asgi import Application
from serving_runtime.server.lifecycle import Draining, Lifecycle
from serving_runtime.server.listen import Listener
from serving_runtime.server.settings import ServeSettings, UnavailableAddressError
from serving_runtime.server.share import load_shared
from serving_runtime.server.stand_in import StandIn
from serving_runtime.server.supervisor import Supervisor

if TYPE_CHECKING:
    from serving_runtime.model import Model

BACKLOG: Final = 2048  # connections that wait while all workers are busy; the kernel may allow fewer
LAST_ANSWERS: Final = 0.02  # seconds


class ServerFailedError(ServingError):
    """No worker could start."""


def serve(settings: ServeSettings, environ: Mapping[str, str]) -> NoReturn:
    """Serves until it is asked to end.

    Raises SystemExit, in the supervisor and in its workers; ServingError where the model cannot be served; ContractError where it is not
    said which, or where the address cannot be had.
    """
    logs.configure()
    for number in (signal.SIGTERM, signal.SIGINT):  # the first process of a container has no default action
        signal.signal(number, lambda *_: sys.exit(0))
    path = resolve_model_path(environ)
    sock = open_socket(settings)
    with StandIn.start(partial(_answer_without_model, settings, sock)) as stand_in:
        model = model_source(path)
        _supervise(Supervisor(settings, sock.detach(), stand_in, model))


def open_socket(settings: ServeSettings) -> socket.socket:
    """Listens already: what comes before a process accepts is not refused but waits. Raises UnavailableAddressError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=settings.host == "::")
    except OSError as error:
        raise UnavailableAddressError(settings, error) from error


def model_source(path: Path) -> Callable[[], "Model"]:
    """Gives a worker its model: the one that is loaded here and now, or, where that cannot be copied, one of its own."""
    shared = load_shared(path)

    def model() -> "Model":
        from serving_runtime.model import load  # noqa: PLC0415  pandas comes with it

        return shared or load(path)

    return model


def _answer_without_model(settings: ServeSettings, sock: socket.socket, wire: socket.socket) -> None:
    listener = Listener(Application(Lifecycle(None, Draining()), settings), settings)
    listener.listen([sock], started=lambda loop: loop.add_reader(wire, _leave, listener, wire, loop))


def _leave(listener: Listener, wire: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """More quickly than a listener stops that may have to wait for answers; what has just been sent still gets its own."""
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
            raise ServerFailedError(supervisor.last_words.heard() or "no worker could start; the log says why") from None
        raise
