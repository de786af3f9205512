"""One HTTP/1.1 connection on the event loop: a review is answered at once, another request by the Flask app.

A small review takes less time than a change of thread. A large one is decided in a thread, so that the reviews of other
connections go on meanwhile, and only so many large ones are in memory at a time.
"""

import asyncio
import logging
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from webhook.server.app import REVIEW_PATH
from webhook.server.request import LARGE, Request, is_json, is_small, path_of
from webhook.server.reviews import Answer, Reviewed, text_answer

if TYPE_CHECKING:
    from webhook.server.connections import Connections

LARGEST_HEAD: Final = 64 << 10  # bytes; the API server sends some hundred
LINGER: Final = 2.0  # seconds in which a client reads why it was refused, or uses a connection that is to be closed
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
NEVER: Final = float("inf")
STATUS_LINES: Final = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    if status >= HTTPStatus.OK
}
KEEP: Final = b"connection: keep-alive\r\n\r\n"
CLOSE: Final = b"connection: close\r\n\r\n"

_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """The connection of a client. It is closed at `deadline`, by the clock of `time.monotonic`."""

    _transport: asyncio.Transport

    def __init__(self, connections: "Connections") -> None:
        self.deadline = NEVER
        self._connections = connections
        self._parser = HttpRequestParser(self)
        self._request = Request()
        self._parts: list[bytes] = []
        self._size = 0  # of the body, so far
        self._head_size = 0
        self._in_head = False
        self._in_message = False
        self._has_slot = False
        self._waits_for_slot = False
        self._deciding = False
        self._unread = False  # answers have not left
        self._behind: deque[Request] = deque()  # requests that came behind a large review
        self._ended = False  # nothing more is read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as of TCP
        self._transport = transport
        self._connections.add(self)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._leave_slot()
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._close()
        except HttpParserCallbackError as error:
            _log.error("a connection failed", exc_info=error.__context__)
            self._close()
        except HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "the request is not HTTP/1.1")
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > LARGEST_HEAD:
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self._refuse(status, f"the head of the request is larger than {LARGEST_HEAD} bytes")

    def pause_writing(self) -> None:
        """Stop reading requests of a client that does not read its answers."""
        self._unread = True
        self._transport.pause_reading()
        self.deadline = time.monotonic() + self._connections.read_timeout

    def resume_writing(self) -> None:
        self._unread = False
        self._go_on()

    def on_message_begin(self) -> None:
        self._request = Request()
        self._in_head = self._in_message = True
        self._head_size = 0
        self._set_deadline()

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                self._request.media_type = value
            case b"content-length":
                self._request.length = int(value)
            case b"expect":
                self._request.expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        request = self._request
        self._in_head = False
        try:
            request.path = path_of(request.target)
        except HttpParserInvalidURLError:
            self._refuse(HTTPStatus.BAD_REQUEST, "the address of the request is not one of HTTP")
            return
        request.method = self._parser.get_method().decode()
        request.is_review = request.method == "POST" and request.path == REVIEW_PATH and is_json(request.media_type)
        if request.is_review and request.length > self._connections.max_body:
            self._refuse_body()
        elif request.expects_continue:
            self._transport.write(CONTINUE)

    def on_body(self, part: bytes) -> None:
        if self._ended or not self._request.is_review:
            return
        self._size += len(part)
        if self._size > self._connections.max_body:
            self._refuse_body()
            return
        self._parts.append(part)
        if self._size > LARGE and not (self._has_slot or self._waits_for_slot):
            self._enter_slot()

    def on_message_complete(self) -> None:
        if self._ended:
            return
        request = self._request
        request.keep_alive = self._parser.should_keep_alive()
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._in_message = False
        self._behind.append(request)
        self._answer_next()

    def close_soon(self) -> None:
        """Close an idle connection in a moment. The answer to a request that still comes tells the client to close."""
        if not (self._in_message or self._held):
            self.deadline = min(self.deadline, time.monotonic() + LINGER)

    def expire(self) -> None:
        """Close the connection after its deadline."""
        self._close()

    def use_slot(self) -> None:
        """Go on with the large review that has waited for a slot."""
        self._waits_for_slot, self._has_slot = False, True
        self._go_on()

    @property
    def _held(self) -> bool:
        """True while requests wait: a large review is being decided or has no slot, or the client reads no answers."""
        return self._deciding or self._waits_for_slot or self._unread

    def _set_deadline(self) -> None:
        if self._held:
            self.deadline = NEVER
        else:
            seconds = self._connections.read_timeout if self._in_message else self._connections.keepalive
            self.deadline = time.monotonic() + seconds

    def _go_on(self) -> None:
        self._answer_next()
        if not (self._held or self._ended):
            self._transport.resume_reading()
            self._set_deadline()

    def _enter_slot(self) -> None:
        if self._connections.take_slot(self):
            self._has_slot = True
        else:
            self._waits_for_slot = True
            self._hold()

    def _leave_slot(self) -> None:
        if self._has_slot or self._waits_for_slot:
            self._has_slot = self._waits_for_slot = False
            self._connections.leave_slot(self)

    def _hold(self) -> None:
        self._transport.pause_reading()
        self._set_deadline()

    def _answer_next(self) -> None:
        while self._behind and not (self._held or self._ended):
            self._answer(self._behind.popleft())

    def _answer(self, request: Request) -> None:
        if not request.is_review:
            self._send(self._connections.page(request.method, request.path), request)
        elif is_small(request.body):
            reviewed = self._connections.reviews.review(request.body)
            self._send(reviewed.answer, request)
            self._connections.log_soon(reviewed)
        else:
            self._deciding = True
            self._hold()
            self._connections.decide_in_thread(request.body, lambda reviewed: self._decided(reviewed, request))

    def _decided(self, reviewed: Reviewed, request: Request) -> None:
        self._connections.reviews.count(reviewed)
        self._connections.log_soon(reviewed)
        self._deciding = False
        self._leave_slot()
        if not self._ended:
            self._send(reviewed.answer, request)
            self._go_on()

    def _send(self, answer: Answer, request: Request) -> None:
        keep = request.keep_alive and not self._connections.stopping
        self._write(answer, KEEP if keep else CLOSE)
        if not keep:
            self._close()
        elif not self._held:
            self._set_deadline()

    def _write(self, answer: Answer, end: bytes) -> None:
        self._transport.write(
            b"".join((STATUS_LINES[answer.status], self._connections.date, answer.headers, end, answer.body))
        )

    def _refuse_body(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the review is larger than {self._connections.max_body} bytes"
        )

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer with an error, and read on for a moment: closing at once could lose the answer on its way."""
        if self._ended:
            return
        if self._held or self._behind:  # the answer would come before that of an earlier request
            self._close()
            return
        self._write(text_answer(status, sentence), CLOSE)
        self._end()
        self.deadline = time.monotonic() + LINGER

    def _close(self) -> None:
        self._end()
        self._transport.close()

    def _end(self) -> None:
        self._ended = True
        self._parts.clear()
        self._behind.clear()
        self._leave_slot()
