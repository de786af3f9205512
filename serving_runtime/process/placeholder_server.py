"""Answers while the model loads, so that the kubelet sees a live process that is not ready.

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
    """One end of a pair of sockets, whose other end only the stand-in has: to end the sending is to ask it to go, to
    read the end is to know that it went. Where all the others die, it reads the end too.
    """

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    @classmethod
    def start(cls, serve: Callable[[socket.socket], None]) -> Self:
        """Forks a process that runs `serve`, which must end the process once its argument is readable."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        if os.fork() == 0:
            end_with(parent)
            ours.close()
            _run_placeholder(serve, theirs)
        theirs.close()
        return cls(ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.relieve()

    def relieve(self) -> None:
        """Returns when it has closed its last connection: from now on whoever accepts a request has a model."""
        with suppress(OSError):  # another process has done it
            self._wire.shutdown(socket.SHUT_WR)
        self._wire.recv(1)

    @property
    def gone(self) -> bool:
        try:
            return self._wire.recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False


def _run_placeholder(serve: Callable[[socket.socket], None], wire: socket.socket) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal sends them to all processes
        signal.signal(number, signal.SIG_IGN)
    try:
        serve(wire)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("nobody answers while the model loads")
    finally:
        os._exit(0)  # nothing of the process that it is a copy of may run again here
