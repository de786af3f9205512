"""`model-api-runtime serve`, from its settings to its end."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

from model_contract import json_log
from model_contract.extras import missing_extra
from model_contract.model_ref import ContractError
from model_contract.shared_metrics import SharedMetrics
from serving_runtime.application import Application
from serving_runtime.errors import AskedToEndError
from serving_runtime.http.listener import Listener
from serving_runtime.http.tokens import Tokens, tokens_in
from serving_runtime.location import resolve_model_path
from serving_runtime.mlmodel import identity
from serving_runtime.observability import tracing
from serving_runtime.observability.capture import Recorder, destination
from serving_runtime.observability.metrics import Metrics, new_shared_metrics
from serving_runtime.options import Coerce, Loader
from serving_runtime.prediction.worker_context import Draining, WorkerContext
from serving_runtime.process.fresh_start import UnsafeForkError, each_worker_loads, start_again
from serving_runtime.process.placeholder_server import PlaceholderServer
from serving_runtime.settings import ServeSettings, UnavailableAddressError

BACKLOG: Final = 2048  # connections that wait while all workers are busy; the kernel may allow fewer
PLACEHOLDER_WORKER: Final = 0  # gunicorn numbers its workers from 1
LAST_ANSWERS: Final = 0.02  # seconds
ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last one from a terminal that is closed
EVERY_ADDRESS: Final = {
    "0.0.0.0": "localhost",  # noqa: S104  what a browser calls it
    "::": "localhost",
    "": "localhost",
}

_log = logging.getLogger(__name__)


class MissingExtraError(ContractError):
    """A setting needs a package that is not installed."""


def _end_start(*_: object) -> NoReturn:
    raise AskedToEndError(0)


def serve(settings: ServeSettings, environ: Mapping[str, str]) -> NoReturn:
    """Serve until the process is asked to end.

    Raises SystemExit, in the supervisor and in its workers; ServingError if the model cannot be served; ContractError
    if the model is not named, if the address is taken, or if the tokens cannot be read.
    """
    _configure_logs()
    directory = _working_directory()
    take_signals()
    path = resolve_model_path(environ)
    settings = _with_identity(settings, path)
    destination(settings.capture, environ)
    tokens = tokens_in(settings.token_file)
    tracing.warn(environ)
    sock = open_socket(settings)
    reserved = reserve_grpc_port(settings)
    _log.info("the model loads; its page is at the address of docs", extra={"fields": _addresses(settings)})
    metrics = new_shared_metrics(settings.workers)
    with PlaceholderServer.start(partial(_answer_without_model, settings, sock, metrics, tokens)) as placeholder:
        # gunicorn, pandas and all that a prediction needs: a second, in which the placeholder server answers.
        from serving_runtime.process.preload import PreloadedModel  # noqa: PLC0415  as above
        from serving_runtime.process.supervisor import supervise  # noqa: PLC0415  as above

        try:
            preloaded = PreloadedModel(
                path,
                loader_for(settings),
                require_match=settings.require_match,
                each_loads=each_worker_loads(environ),
            )
        except UnsafeForkError as reason:
            _log.info(
                "the server starts again, so that each worker loads the model",
                extra={"fields": {"reason": str(reason)}},
            )
            placeholder.stop()
            start_again(environ, directory)
        listening = (sock.detach(), *([reserved.detach()] if reserved else []))
        supervise(settings, listening, placeholder, preloaded, metrics)


def take_signals() -> None:
    """Let signals end the start: the first process of a container has no default action.

    Some shells and runners of CI leave signals blocked, which each process inherits.
    """
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(number, _end_start)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*ENDING, signal.SIGQUIT, signal.SIGALRM, signal.SIGCHLD})


def _working_directory() -> Path:
    """Return the working directory; the root if it is removed, in which no relative path is found either."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _configure_logs() -> None:
    """Write the lines of every logger of the process as JSON to standard output."""
    json_log.configure(sys.stdout, json_log.JsonFormatter(log_line))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it logs start and end of each process, as gunicorn does


def log_line(line: dict[str, Any]) -> str:
    """Return the line as JSON, also one with a name of a request, or an error of a model, that is no Unicode."""
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # of half of a surrogate pair
        return json.dumps(line, default=str)


def _with_identity(settings: ServeSettings, path: Path) -> ServeSettings:
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
    """Return MLflow's loader instead of `auto` if MLflow casts the input, or if no warm-up compares predictions.

    MLflow's casts rely on MLflow's check of the cast input. Without a call nothing shows that native predictions are
    right.
    """
    mlflow = settings.coerce is Coerce.MLFLOW or not settings.warm_up
    return Loader.MLFLOW if mlflow and settings.loader is Loader.AUTO else settings.loader


def open_socket(settings: ServeSettings) -> socket.socket:
    """Return a listening socket: a connection that comes before a process accepts it waits, and is not refused.

    Raises UnavailableAddressError.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=settings.host == "::")
    except OSError as error:
        raise UnavailableAddressError(settings.host, settings.port, "--port", error) from error


def reserve_grpc_port(settings: ServeSettings) -> socket.socket | None:
    """Return a socket that keeps the port of gRPC for the workers, which bind it too; None if gRPC is off.

    It does not listen, so that the kernel gives it no connection. Raises UnavailableAddressError, MissingExtraError.
    """
    if settings.grpc_port is None:
        return None
    if find_spec("grpc") is None:  # which does not import it: no process forks with grpc's threads
        raise MissingExtraError(missing_extra("grpc", "grpc"))
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.grpc_port, type=socket.SOCK_STREAM)[0]
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(address)  # which fails if another server has the port, also one that would share it
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        raise UnavailableAddressError(settings.host, settings.grpc_port, "--grpc-port", error) from error
    return reserved


def _answer_without_model(
    settings: ServeSettings, sock: socket.socket, metrics: SharedMetrics, tokens: Tokens | None, control: socket.socket
) -> None:
    context = WorkerContext(
        metrics=Metrics(metrics, metrics.take(PLACEHOLDER_WORKER)),
        recorder=Recorder(),
        draining=Draining(),
        tokens=tokens,
    )
    listener = Listener(Application(settings, context), settings)
    listener.listen([sock], started=lambda loop: loop.add_reader(control, _leave, listener, control, loop))


def _leave(listener: Listener, control: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """Close the sockets, and end the process a moment later: a request that has just come still gets its answer."""
    if listener.started:  # else it is called again at once
        loop.remove_reader(control)
        for server in listener.servers:
            server.close()
        loop.call_later(LAST_ANSWERS, os._exit, 0)
