"""The process that answers while the model loads, so that the kubelet sees a live server that is not ready.

It is a process of its own: a load may hold the interpreter for seconds, and workers are forked from a process without
other threads.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Self

from serving_runtime.process.parent_death import end_with

_log = logging.getLogger(__name__)


class PlaceholderServer:
    """The supervisor's end of a pair of sockets; only the placeholder process has the other end.

    Shutting the supervisor's end down for writing asks the process to end; reading the end of the stream means that it
    has ended. If all other processes die, the placeholder process reads the end of the stream too.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    @classmethod
    def start(cls, serve: Callable[[socket.socket], None]) -> Self:
        """Fork a process that runs `serve`, which must end the process once its argument is readable."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        if os.fork() == 0:
            end_with(parent)
            ours.close()
            _run(serve, theirs)
        theirs.close()
        return cls(ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Return when the placeholder process has ended: from now on only processes with a model accept connections."""
        with suppress(OSError):  # another process has done it
            self._control.shutdown(socket.SHUT_WR)
        self._control.recv(1)

    @property
    def gone(self) -> bool:
        try:
            return self._control.recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False


def _run(serve: Callable[[socket.socket], None], control: socket.socket) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a terminal sends them to all processes
        signal.signal(number, signal.SIG_IGN)
    try:
        serve(control)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("the placeholder server failed: there is no answer while the model loads")
    finally:
        os._exit(0)  # nothing of the process that it is a copy of may run again here
