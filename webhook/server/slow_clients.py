"""Clients that are slow, or say nothing: none may keep a thread that others wait for.

gunicorn gives each new connection a thread, puts no bound on how long that thread reads, and takes leave of a client
for up to two seconds in the one thread that accepts all others.
"""

import selectors
import ssl
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker


class SlowClientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """A connection gets a thread when its first bytes are there, not before, and is closed by one of them."""

    def enqueue_req(self, conn: TConn) -> None:
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: TConn, served: Future[Any]) -> None:
        if served.cancelled() or served.exception() or served.result():
            super().finish_request(conn, served)
            return
        self.nr_conns -= 1
        self.tpool.submit(conn.close, graceful=True)


def socket_with_deadline(seconds: float) -> type[ssl.SSLSocket]:
    """Sockets on which a request has so many seconds to arrive; a client that takes longer has left, as far as the
    server is concerned.
    """

    class DeadlineSocket(ssl.SSLSocket):
        deadline = float("inf")
        given_up = False

        def setblocking(self, flag: bool) -> None:
            """gunicorn calls it at the beginning of each request."""
            self.deadline = time.monotonic() + seconds
            self.settimeout(seconds if flag else 0)

        def do_handshake(self, block: bool = False) -> None:
            self.setblocking(True)
            super().do_handshake(block)

        def recv(self, buflen: int = 1024, flags: int = 0) -> Any:
            try:
                self.settimeout(max(self.deadline - time.monotonic(), 0.001))
                return super().recv(buflen, flags)
            except TimeoutError:
                self.given_up = True
                return b""

        def shutdown(self, how: int) -> None:
            """The polite end, at which one waits for the other side to close as well."""
            if self.given_up:
                raise TimeoutError
            super().shutdown(how)

    return DeadlineSocket
