"""uvicorn's HTTP protocol, made safe against heads that never end, and deaf to offers of another protocol."""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving_runtime.http.answer import refusal
from serving_runtime.http.errors import HeadTooLargeError, HttpError, NotHttpError, SlowHeadError

LARGEST_HEAD: Final = 64 << 10  # bytes; proxies send at most 32 KiB
GRACE: Final = 0.5  # seconds
END: Final = b"\r\n\r\n"
# The parser drops the body of a request that offers to go on in another protocol; Java's client offers HTTP/2 with its
# first request. A server may ignore the offer (RFC 9110, 7.8), so the parser gets it under a name that means nothing.
OFFER: Final = re.compile(rb"(\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)

_log = logging.getLogger(__name__)


class GuardedProtocol(HttpToolsProtocol):
    """A client that owes us bytes, and gets no answer yet, has `patience` seconds to send them."""

    def __init__(self, *args: Any, patience: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._head = b""
        self._in_message = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        if self._writing is not None:
            self._writing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_message:
            data = self._complete_head(data)
        if data:
            super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(
                self._patience, self._expect_reader, self.transport.get_write_buffer_size()
            )

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _expect_reader(self, before: int) -> None:
        """A client that has taken nothing of its answer for so long keeps it in memory, and its place in a stream."""
        now = self.transport.get_write_buffer_size()
        if now >= before:
            self.transport.abort()
        else:
            self._writing = self.loop.call_later(self._patience, self._expect_reader, now)

    def on_message_begin(self) -> None:
        self._in_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        self._refuse(NotHttpError())

    def shutdown(self) -> None:
        """A connection that has just come may have its request on the way; every answer says by now that it is the
        last.
        """
        if self.cycle is None:
            self.loop.call_later(GRACE, self._close_unused)
        else:
            super().shutdown()

    def _close_unused(self) -> None:
        if self.cycle is None:
            self.transport.close()

    def _complete_head(self, data: bytes) -> bytes:
        """The head with what follows it, once it is complete; nothing before."""
        before = len(self._head)
        data = self._head + data
        if data.find(END, max(0, before - len(END))) < 0:
            self._head = data
            if len(data) > LARGEST_HEAD:
                self._refuse(HeadTooLargeError(LARGEST_HEAD))
            return b""
        self._head = b""
        head, end, rest = data.partition(END)
        return OFFER.sub(rb"\1ignored-upgrade", head) + end + rest

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._timer is None and (self._head or self._in_message or self.timeout_keep_alive_task is None):
            self._timer = self.loop.call_later(self._patience, self._lose_patience)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self) -> None:
        if self._head:
            self._refuse(SlowHeadError())
        else:
            self.transport.close()

    def _refuse(self, error: HttpError) -> None:
        """Without the app, which has not seen a request."""
        _log.info("refused what is no request", extra={"fields": {"status": error.status, "reason": error.message}})
        answer = refusal(error)
        lines = [
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
            "content-type: application/json",
            "connection: close",
        ]
        head = "\r\n".join([*lines, f"content-length: {len(answer.body)}"]).encode()
        self.transport.write(head + END + answer.body)
        self.transport.close()
