"""The private parts of uvicorn that the runtime uses are those that `uvicorn_fast_path.py` expects (decision 12)."""

import asyncio
import hashlib
import inspect
import io
import logging
import tokenize
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving_runtime.http.uvicorn_fast_path import received_body, send_answer
from serving_runtime.protocols.interface import Answer

USED = {
    FlowControl.resume_reading: "45927d22b4145abf",
    HttpToolsProtocol.__init__: "657a37ccd9633eeb",
    HttpToolsProtocol._unset_keepalive_if_required: "7fd68509ad97a05a",
    HttpToolsProtocol.connection_lost: "5ed5a3e443ec794e",
    HttpToolsProtocol.connection_made: "e3b2039873e8c06c",
    HttpToolsProtocol.data_received: "f83481cc3c26cebf",
    HttpToolsProtocol.on_body: "54a62c7f3ac29355",
    HttpToolsProtocol.on_header: "e128514d99e6a8e2",
    HttpToolsProtocol.on_headers_complete: "cdd1ed6fad1e8689",
    HttpToolsProtocol.on_message_begin: "3112594b0114fcb9",
    HttpToolsProtocol.on_message_complete: "13556ee85b3b8cc4",
    HttpToolsProtocol.on_response_complete: "60a8f260fd610869",
    HttpToolsProtocol.pause_writing: "46667e4b3bd239d5",
    HttpToolsProtocol.resume_writing: "78836942c1b54808",
    HttpToolsProtocol.send_400_response: "38c8cc09171df213",
    HttpToolsProtocol.shutdown: "31adbb392633bb00",
    HttpToolsProtocol.timeout_keep_alive_handler: "1fcb5e9b59b964d4",
    RequestResponseCycle.__init__: "a470e7b6937d196f",
    RequestResponseCycle.receive: "05450e9f2981c8be",
    RequestResponseCycle.send: "ebc880dd1843cb2f",
}


def digest(function: Callable[..., Any]) -> str:
    """Of the source's tokens, without comments and line breaks."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    source = inspect.cleandoc(inspect.getsource(function))
    lines = io.StringIO(source if source.startswith(("def", "async", "@")) else f"def {source}")
    tokens = [token.string for token in tokenize.generate_tokens(lines.readline) if token.type not in layout]
    return hashlib.sha256(" ".join(tokens).encode()).hexdigest()[:16]


@pytest.mark.parametrize("function", USED, ids=lambda function: function.__qualname__)
def test_uvicorn_is_as_the_fast_path_expects(function: Callable[..., Any]) -> None:
    assert digest(function) == USED[function], (
        f"uvicorn has changed {function.__qualname__}: compare it with http/uvicorn_fast_path.py, adapt that, then"
        " write the new digest here and raise uvicorn's upper bound in pyproject.toml"
    )


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")  # as uvloop does
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def cycle_of(*, method: str, keep_alive: bool) -> RequestResponseCycle:
    transport: Any = Transport()
    logger = logging.getLogger(__name__)
    return RequestResponseCycle(
        scope={"method": method},  # type: ignore[typeddict-item]  # `send` reads no more of it
        transport=transport,
        flow=FlowControl(transport),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=True,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


def state(cycle: RequestResponseCycle) -> Any:
    transport: Any = cycle.transport
    names = ("keep_alive", "response_started", "response_complete", "waiting_for_100_continue", "disconnected")
    return (
        transport.written,
        transport.closed,
        cycle.message_event.is_set(),
        [getattr(cycle, name) for name in names],
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept alive", "closed by the client"])
@pytest.mark.parametrize("close", [True, False], ids=["closed by us", "left open"])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_fast_path_writes_and_leaves_what_uvicorn_does(method: str, keep_alive: bool, close: bool, status: int) -> None:
    answer = Answer(status=status, body=b'{"predictions": [1.5]}', headers=((b"retry-after", b"1"),), close=close)
    fast, plain = (cycle_of(method=method, keep_alive=keep_alive) for _ in range(2))

    async def send(message: Any) -> None:  # bound to no cycle, so that ASGI's messages are sent
        await plain.send(message)

    async def both() -> None:
        for sender in (fast.send, send):
            await send_answer(answer, sender, headers=((b"x-request-id", b"a"),), with_body=method != "HEAD")

    asyncio.run(both())

    assert state(fast) == state(plain)


def test_client_that_hangs_up_before_its_answer_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The transport closes a moment before uvicorn is told."""
    cycle = cycle_of(method="POST", keep_alive=True)
    cycle.transport.close()

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send_answer(Answer(body=b"{}"), send, headers=(), with_body=True)

    asyncio.run(cycle.run_asgi(application))

    assert caplog.records == []


def test_body_that_has_come_is_taken_as_uvicorn_gives_it() -> None:
    cycle = cycle_of(method="POST", keep_alive=True)
    cycle.flow = SimpleNamespace(resume_reading=lambda: None)  # type: ignore[assignment]  # all that is called
    cycle.body, cycle.more_body = bytearray(b"{}"), False

    assert received_body(cycle.receive) == b"{}"
    assert cycle.body == b""


def test_body_that_is_still_coming_is_left_to_uvicorn() -> None:
    cycle = cycle_of(method="POST", keep_alive=True)
    cycle.body = bytearray(b"{")

    assert received_body(cycle.receive) is None
    assert cycle.body == b"{"
