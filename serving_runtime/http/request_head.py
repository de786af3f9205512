"""The head of a request, as far as the server reads it."""

import random
import re
from collections.abc import Mapping
from typing import Any, Final, Self

from serving_runtime.frozen_record import frozen_record
from serving_runtime.http.errors import InvalidTimeoutError

# Longer ids, and ids with spaces or line breaks, would let a client write arbitrary text into the log.
REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header
TRACE: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL
)
TIMEOUT: Final = b"x-request-timeout-ms"
MILLISECONDS: Final = re.compile(rb"[1-9][0-9]{0,9}")


@frozen_record
class RequestHead:
    """`headers` have lower-case names. `id` is the client's X-Request-ID, else its trace, else a new one."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    id: str
    trace: str | None = None

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> Self:
        headers = dict(scope["headers"])
        trace = TRACE.fullmatch(headers[b"traceparent"]) if b"traceparent" in headers else None
        trace_id = trace[1].decode() if trace else None
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else trace_id or _new_id()
        return cls(method=scope["method"], path=scope["path"], headers=headers, id=request_id, trace=trace_id)

    @property
    def content_type(self) -> str | None:
        value = self.headers.get(b"content-type")
        return None if value is None else value.decode("latin-1")

    @property
    def encoding(self) -> str:
        """The Content-Encoding of the body, in lower case."""
        return self.headers.get(b"content-encoding", b"identity").strip().lower().decode("latin-1")

    def timeout(self, most: float) -> float:
        """Return the time that the answer may take; the client may ask for less. Raises InvalidTimeoutError."""
        given = self.headers.get(TIMEOUT)
        if given is None:
            return most
        if not MILLISECONDS.fullmatch(given):
            raise InvalidTimeoutError(TIMEOUT.decode())
        return min(most, int(given) / 1000)

    @property
    def content_length(self) -> int | None:
        """The length of the body; None if it comes in chunks, or if there is none."""
        length = self.headers.get(b"content-length")
        return None if length is None else int(length)  # the parser has refused all but digits

    @property
    def expects_continue(self) -> bool:
        """True if the client sends the body once it is told to continue."""
        return b"expect" in self.headers


def _new_id() -> str:
    """Return a random id. It is no secret, so it needs no system call; Python seeds each forked process anew."""
    return f"{random.getrandbits(128):032x}"
