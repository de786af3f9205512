"""The only module that uses private parts of uvicorn: its protocol class with limits, and a bypass of ASGI's messages.

uvicorn does not promise to keep these attributes; USED names them for the test that fails when uvicorn changes one
(decision 12). A server that is not uvicorn gets plain ASGI messages.
"""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving_runtime.http.answer import Send, http_error_answer
from serving_runtime.http.errors import HeadTooLargeError, HttpError, NotHttpError, SlowHeadError
from serving_runtime.protocols.interface import CLOSE, Answer, Headers

LARGEST_HEAD: Final = 64 << 10  # bytes; proxies send at most 32 KiB
NEW_CONNECTION_GRACE: Final = 0.5  # seconds
END_OF_HEAD: Final = b"\r\n\r\n"
# The start of TLS, or a line that ends without CR, as `printf | nc` sends it. The parser gets such bytes before the
# head is complete, because it refuses them: a client that had to wait for the timeout would not learn why.
NO_HEAD: Final = re.compile(rb"\A[^A-Za-z\r\n]|[^\r]\n")
# The parser drops the body of a request with the header Upgrade, which Java's client sends with its first request to
# offer HTTP/2. A server may ignore Upgrade (RFC 9110, 7.8), so the parser gets the header under a name without meaning.
UPGRADE_HEADER: Final = re.compile(rb"(\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)

_log = logging.getLogger(__name__)


def received_body(receive: Any) -> bytes | None:
    """Return the whole body of the request if uvicorn has it already, else None."""
    cycle = getattr(receive, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.more_body or cycle.disconnected:
        return None
    body, cycle.body = bytes(cycle.body), bytearray()
    cycle.flow.resume_reading()
    return body


async def send_answer(answer: Answer, send: Send, *, headers: Headers, with_body: bool) -> None:
    """Send a whole answer. Its length is that of the body, sent or not: HEAD is answered with the headers of GET."""
    own = (
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        *((CLOSE,) if answer.close else ()),
    )
    every, body = (*own, *answer.headers, *headers), answer.body if with_body else b""
    if not _send_whole(send, answer.status, every, body):
        await send({"type": "http.response.start", "status": answer.status, "headers": every})
        await send({"type": "http.response.body", "body": body})


def _send_whole(send: Any, status: int, headers: Headers, body: bytes) -> bool:
    """Send head and body in one system call, and one packet; False if the client is too slow, or it is not uvicorn.

    The head is written as it is: uvicorn checks for bytes that no header may hold, and the runtime's headers have none.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.flow.write_paused:
        return False
    if cycle.transport.is_closing():
        cycle.disconnected = True  # as uvicorn notes a moment later; until then it would answer 500, which fails
    if not cycle.disconnected:
        _send(cycle, status, headers, body)
    return True


def _send(cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
    """Do what uvicorn's `send` does for both messages, and leave the cycle in the same state."""
    if CLOSE in headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        headers = (*headers, CLOSE)
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    cycle.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the head of a request. It ignores the header Upgrade.

    A client that has bytes to send, and gets no answer yet, has `read_timeout` seconds for them.
    """

    def __init__(self, *args: Any, read_timeout: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_timeout = read_timeout
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head = b""
        self._in_message = False
        self._beside_body = 0  # bytes of the message that came since the last of its body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._update_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_read_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_message:
            self._beside_body += len(data)
        else:
            data = self._complete_head(data)
        if data:
            super().data_received(data)
        if self._in_message and self._beside_body > LARGEST_HEAD:
            self._refuse(HeadTooLargeError(LARGEST_HEAD))
        self._update_read_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self._read_timeout, self._abort_stalled_write, self.transport.get_write_buffer_size()
            )

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _abort_stalled_write(self, before: int) -> None:
        """Abort if the client has read nothing since `before` bytes were unsent: it holds memory, or a stream."""
        now = self.transport.get_write_buffer_size()
        if now >= before:
            self.transport.abort()
        else:
            self._write_timer = self.loop.call_later(self._read_timeout, self._abort_stalled_write, now)

    def on_message_begin(self) -> None:
        self._in_message = True
        self._beside_body = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.headers = []  # for trailers, which are no headers of the request (RFC 9110, 6.5.1)

    def on_body(self, body: bytes) -> None:
        self._beside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_read_timer()

    def send_400_response(self, msg: str) -> None:
        self._refuse(NotHttpError(after_request=self.cycle is not None))

    def shutdown(self) -> None:
        """Close the connection, a new one a moment later: its request may be on the way, and gets the last answer."""
        if self.cycle is None:
            self.loop.call_later(NEW_CONNECTION_GRACE, self._close_unused)
        else:
            super().shutdown()

    def _close_unused(self) -> None:
        if self.cycle is None:
            self.transport.close()

    def _complete_head(self, data: bytes) -> bytes:
        """Return the head with what follows it once it is complete; nothing before."""
        start = 0
        if self._head:
            start = max(0, len(self._head) - len(END_OF_HEAD))
            data = self._head + data
        end = data.find(END_OF_HEAD, start)
        if (end if end >= 0 else len(data)) > LARGEST_HEAD:
            self._refuse(HeadTooLargeError(LARGEST_HEAD))
            return b""
        if end < 0 and NO_HEAD.search(data, start) is None:
            self._head = data
            return b""
        self._head = b""
        if end < 0:
            return data
        if UPGRADE_HEADER.search(data, 0, end) is None:
            return data
        return UPGRADE_HEADER.sub(rb"\1ignored-upgrade", data[:end]) + data[end:]

    def _update_read_timer(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_read_timer()
        elif self._read_timer is None and (self._head or self._in_message or self.timeout_keep_alive_task is None):
            self._read_timer = self.loop.call_later(self._read_timeout, self._read_timed_out)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _read_timed_out(self) -> None:
        if self._head:
            self._refuse(SlowHeadError())
        else:
            self.transport.close()

    def _refuse(self, error: HttpError) -> None:
        """Answer without the application, which has not seen a request."""
        _log.info(
            "refused bytes that are no request", extra={"fields": {"status": error.status, "reason": error.message}}
        )
        answer = http_error_answer(error)
        lines = [
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
            "content-type: application/json",
            "connection: close",
        ]
        head = "\r\n".join([*lines, f"content-length: {len(answer.body)}"]).encode()
        self.transport.write(head + END_OF_HEAD + answer.body)
        self.transport.close()
