"""The head of a request, as far as the server reads it."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from serving_runtime.frozen_record import frozen_record
from serving_runtime.http.errors import InvalidTimeoutError

# Longer ids, and ids with spaces or line breaks, would let a client write arbitrary text into the log.
REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
# https://www.w3.org/TR/trace-context/ Version 00 has these four parts, a later one may have more.
TRACE_PARENT: Final = re.compile(
    rb"(?!ff|00.{53}-)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
LONGEST_TRACE_STATE: Final = 512  # bytes; so many must be passed on
SAMPLED: Final = 1  # a bit of the flags
REQUEST_ID_HEADER: Final = b"x-request-id"
TIMEOUT: Final = b"x-request-timeout-ms"
MILLISECONDS: Final = re.compile(rb"[1-9][0-9]{0,9}")


class TraceContext(NamedTuple):
    """The span of the caller, from the headers traceparent and tracestate."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""

    @classmethod
    def read(cls, parents: Sequence[bytes], states: Sequence[bytes] = ()) -> "TraceContext | None":
        """Return the context that the values of the headers give; None if there is not one good traceparent.

        `state` is as it came, and left out if it is too long.
        """
        found = TRACE_PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
        if found is None:
            return None
        state = b",".join(states)
        return cls(
            trace_id=found[1].decode(),
            span_id=found[2].decode(),
            sampled=bool(int(found[3], 16) & SAMPLED),
            state=state.decode("latin-1") if len(state) <= LONGEST_TRACE_STATE else "",
        )


@frozen_record
class RequestHead:
    """`headers` have lower-case names. `id` is the client's X-Request-ID, else its trace, else a new one."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    id: str
    trace: TraceContext | None = None

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> Self:
        headers = dict(scope["headers"])
        trace = _trace_context(scope["headers"]) if b"traceparent" in headers else None
        given = headers.get(REQUEST_ID_HEADER, b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else trace.trace_id if trace else _new_id()
        return cls(method=scope["method"], path=scope["path"], headers=headers, id=request_id, trace=trace)

    @property
    def content_type(self) -> str | None:
        value = self.headers.get(b"content-type")
        return None if value is None else value.decode("latin-1")

    @property
    def encoding(self) -> str:
        """The Content-Encoding of the body, in lower case, without a list's empty items and `identity` (RFC 9110)."""
        listed = self.headers.get(b"content-encoding", b"").decode("latin-1").lower().split(",")
        return ", ".join(item for part in listed if (item := part.strip()) not in {"", "identity"}) or "identity"

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


def _trace_context(headers: Sequence[tuple[bytes, bytes]]) -> TraceContext | None:
    return TraceContext.read(
        [value for name, value in headers if name == b"traceparent"],
        [value for name, value in headers if name == b"tracestate"],
    )


def _new_id() -> str:
    """Return a random id. It is no secret, so it needs no system call; Python seeds each forked process anew."""
    return f"{random.getrandbits(128):032x}"
