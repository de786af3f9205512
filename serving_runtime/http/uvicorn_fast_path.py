"""Short ways past ASGI's messages, for a body that is there and an answer that is whole, as nearly all are.

What is called is a method of uvicorn's RequestResponseCycle. Any other server has its messages.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from serving_runtime.protocols.interface import CLOSE, Headers


def body_of(receive: Any) -> bytes | None:
    """All of it; None where it is still to come."""
    cycle = getattr(receive, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.more_body or cycle.disconnected:
        return None
    body, cycle.body = bytes(cycle.body), bytearray()
    cycle.flow.resume_reading()
    return body


def send_whole(send: Any, status: int, headers: Headers, body: bytes) -> bool:
    """Head and body in one system call, and one packet. False where the client is too slow for that, or the server
    another.

    The head is written as it is: uvicorn looks for what no header may hold, which those of our answers do not.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.flow.write_paused:
        return False
    if not cycle.disconnected:
        _send(cycle, status, headers, body)
    return True


def _send(cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
    """As uvicorn's `send` does it, and leaves the cycle."""
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
