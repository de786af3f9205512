"""A process for each worker that reads its large bodies.

Python runs one thread at a time, and orjson, numpy and pandas keep the others from running for the length of a call:
in a thread, a body of many megabytes would keep every other client waiting.
"""

import gc
import logging
import os
import pickle
import signal
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final, NoReturn, Self

from serving_runtime.errors import ServingError
from serving_runtime.prediction.worker_context import Read
from serving_runtime.process.parent_death import end_with
from serving_runtime.protocols.interface import Inputs, Message, ServedModel

NICENESS: Final = 5  # small requests go first
FIRST_DESCRIPTOR: Final = 3  # after standard input, output and error

_log = logging.getLogger(__name__)


class BodyReaderError(Exception):
    """The process failed on a body, for a reason that its log line tells, or has ended."""


class BodyReader:
    """The worker's end of a pipe to the process. One thread may use it at a time."""

    def __init__(self, connection: "Connection[Any, Any]", pid: int) -> None:
        self._connection = connection
        self._pid = pid

    @classmethod
    def start(cls, served: ServedModel) -> Self:
        """Fork the process. It has all that the worker has by now, and keeps no descriptor of the worker's open."""
        ours, theirs = Pipe()
        worker = os.getpid()
        if (pid := os.fork()) == 0:
            end_with(worker)
            _run(served, theirs)
        theirs.close()
        return cls(ours, pid)

    @property
    def ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # the model's own code has waited for any child
            return True

    def end(self) -> None:
        """End the process, also in the middle of a body: the worker would wait for the thread that waits for it."""
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def read(self, read: Read, message: Message) -> Inputs:
        """Return what `read` returns. Raises ServingError, BodyReaderError."""
        try:
            self._connection.send_bytes(_pickled((read, message)))
            result = pickle.loads(self._connection.recv_bytes())  # noqa: S301  the process runs our own code
        except (EOFError, OSError) as error:
            raise BodyReaderError("the process that reads large bodies has ended") from error
        if isinstance(result, Exception):
            raise result
        inputs: Inputs = result
        return inputs


def _run(served: ServedModel, connection: "Connection[Any, Any]") -> NoReturn:
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # it ends with its worker, which may still wait for it
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(connection.fileno())
        os.nice(NICENESS)
        # The values of a body hold no circles. Looking for some among millions would take longer than to read them.
        gc.freeze()
        gc.disable()
        while True:
            connection.send_bytes(_result(served, connection.recv_bytes()))
            gc.collect()
    except (EOFError, OSError):
        pass
    finally:
        os._exit(0)  # nothing of the process that it is a copy of may run again here


def _result(served: ServedModel, request: bytes) -> bytes:
    try:
        read, message = pickle.loads(request)  # noqa: S301  the worker's own
        return _pickled(read(message, served))
    except ServingError as error:
        return _pickled(error)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("a body could not be read")
        return _pickled(BodyReaderError("the process that reads large bodies failed"))


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _close_all_but(kept: int) -> None:
    """Close the worker's sockets: a port and a connection are closed only when every process has closed them.

    The open descriptors are few, and the limit of a container may be a thousand million.
    """
    for descriptor in map(int, os.listdir("/dev/fd")):  # noqa: PTH208  names, not paths
        if descriptor >= FIRST_DESCRIPTOR and descriptor != kept:
            with suppress(OSError):  # the descriptor of the listing is closed already
                os.close(descriptor)
