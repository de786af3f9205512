"""The connections of one process: they are accepted one at a time, and closed when their time is over."""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Final

from webhook.server.connection import LINGER, Connection
from webhook.server.metrics import Metrics
from webhook.server.reviews import Answer, Reviewed, Reviews
from webhook.server.settings import ServerSettings

YIELD_SECONDS: Final = 0.005  # for another process to take a connection
MAX_CONNECTIONS: Final = 500  # of a process; an API server has some dozen
NOTHING_TO_ACCEPT: Final = {errno.EAGAIN, errno.ECONNABORTED}  # another process was faster, or the client has left

_log = logging.getLogger(__name__)


class Connections:
    """The state that the connections of a process share."""

    def __init__(
        self, server: ServerSettings, metrics: Metrics, reviews: Reviews, page: Callable[[str, str], Answer]
    ) -> None:
        self.reviews = reviews
        self.metrics = metrics
        self.workers = server.workers
        self.page = page
        self.max_body = server.max_body.bytes
        self.read_timeout = server.read_timeout
        self.keepalive = server.keepalive
        self.stopping = False
        self.date = b""
        self.count = 0  # of connections, those in their handshake included
        self._open: set[Connection] = set()
        self._free_slots = max(1, server.threads // server.workers)
        self._waiting: deque[Connection] = deque()
        # One thread: Python runs one thread at a time, and each further one would delay the small reviews.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-reviews")

    def count_one(self, change: int) -> None:
        """Count a connection that begins with its handshake (1), or one that has ended (-1)."""
        self.count += change
        self.metrics.connected(self.count)

    def add(self, connection: Connection) -> None:
        self._open.add(connection)
        if self.stopping:
            connection.close_soon()

    def remove(self, connection: Connection) -> None:
        self._open.discard(connection)
        self.count_one(-1)

    def take_slot(self, connection: Connection) -> bool:
        """Return True if a slot for a large review is free; else the connection's `use_slot` is called when one is."""
        if self._free_slots:
            self._free_slots -= 1
            return True
        self._waiting.append(connection)
        return False

    def leave_slot(self, connection: Connection) -> None:
        if connection in self._waiting:
            self._waiting.remove(connection)
        elif self._waiting:
            self._waiting.popleft().use_slot()
        else:
            self._free_slots += 1

    def decide_in_thread(self, body: bytes, then: Callable[[Reviewed], None]) -> None:
        self.reviews.begin(body)
        deciding = asyncio.get_running_loop().run_in_executor(self._thread, self.reviews.decide, body)
        deciding.add_done_callback(lambda decided: then(decided.result()))

    def log_soon(self, reviewed: Reviewed) -> None:
        """Log a review in the next turn of the loop: its answer is sent first, because the API server waits for it."""
        asyncio.get_running_loop().call_soon(self.reviews.log, reviewed)

    def tick(self) -> None:
        """Close the connections that are past their deadline. Call it once a second."""
        self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
        now = time.monotonic()
        for connection in [connection for connection in self._open if connection.deadline <= now]:
            connection.expire()

    def stop(self) -> None:
        """Tell each client with its next answer to close its connection, and close those that stay idle."""
        self.stopping = True
        for connection in self._open:
            connection.close_soon()


class Acceptor:
    """Accepts connections on sockets that the processes share.

    The first process that wakes up could accept every waiting connection, and get all the work of a burst. So a process
    with more connections than its share leaves the next one to the others for a moment.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        connections: Connections,
        context: Callable[[], ssl.SSLContext],
    ) -> None:
        """`context` returns the TLS context of a new connection."""
        self._sockets = sockets
        self._connections = connections
        self._context = context
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = False
        for listener in sockets:
            listener.setblocking(False)

    def update(self) -> None:
        """Accept connections, or none while there are too many. Call it once a second."""
        wanted = self._connections.count < MAX_CONNECTIONS
        loop = asyncio.get_running_loop()
        for listener in self._sockets if wanted is not self._accepting else ():
            if wanted:
                loop.add_reader(listener, self._accept_share, listener)
            else:
                loop.remove_reader(listener)
        self._accepting = wanted

    def stop(self) -> None:
        """Accept the connections that already wait, and no more."""
        for listener in self._sockets:
            asyncio.get_running_loop().remove_reader(listener)
            while self._accept(listener):
                pass
            listener.close()

    def _accept_share(self, listener: socket.socket) -> None:
        shared = self._connections
        if shared.count * shared.workers <= shared.metrics.connections():
            self._accept(listener)
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(YIELD_SECONDS, self._accept_after_others, listener)

    def _accept_after_others(self, listener: socket.socket) -> None:
        """Accept the connection that no other process has taken."""
        if self._accepting and not self._connections.stopping:
            self._accept(listener)
            asyncio.get_running_loop().add_reader(listener, self._accept_share, listener)

    def _accept(self, listener: socket.socket) -> bool:
        try:
            accepted, _ = listener.accept()
        except OSError as error:
            if error.errno not in NOTHING_TO_ACCEPT:
                raise
            return False
        task = asyncio.get_running_loop().create_task(self._begin(accepted))
        self._connections.count_one(1)
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)
        return True

    async def _begin(self, accepted: socket.socket) -> None:
        """Negotiate TLS. Disconnect a client that takes too long, or does not speak TLS."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self._connections),
                accepted,
                ssl=self._context(),
                ssl_handshake_timeout=self._connections.read_timeout,
                ssl_shutdown_timeout=LINGER,
            )
        except OSError:
            self._connections.count_one(-1)
