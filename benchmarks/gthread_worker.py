"""A gunicorn worker and a TLS socket that keep slow or silent clients from blocking the threads of others.

gunicorn gives each new connection a thread, sets no limit on the time that the thread reads, and closes a connection in
the thread that accepts all others, which takes up to two seconds. Only this file depends on the inside of
gunicorn's thread worker.
"""

import selectors
import ssl
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker


class SlowClientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Gives a connection a thread when its first bytes arrive, not before, and closes it in such a thread."""

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
    """Return a socket class on which a request has `seconds` to arrive; a slower client counts as disconnected."""

    class DeadlineSocket(ssl.SSLSocket):
        deadline = float("inf")
        given_up = False

        def setblocking(self, flag: bool) -> None:
            """Start the deadline: gunicorn calls this method at the beginning of each request."""
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
            """Close both directions. Raises TimeoutError if the client was too slow, instead of waiting for it."""
            if self.given_up:
                raise TimeoutError
            super().shutdown(how)

    return DeadlineSocket
