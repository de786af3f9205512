"""Clients as they are: slow, silent, hasty, gone; and the requests of others beside them."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from testbed.held_calls import held_calls
from testbed.runtime_server import JSON, RuntimeServer

RECORD = json.dumps({"dataframe_records": [{"fixed acidity": 1.0, "pH": 2.0, "alcohol": 3.0}]}).encode()
PING = b"GET /ping HTTP/1.1\r\nHost: model\r\n\r\n"


def head(*lines: str, length: int = len(RECORD)) -> bytes:
    standing = [
        "POST /invocations HTTP/1.1",
        "Host: model",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*standing, *lines, "", ""]).encode()


def everything(connection: socket.socket) -> bytes:
    """Return the bytes that come until the server closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def until(connection: socket.socket, ending: bytes) -> bytes:
    """Return the bytes that come until they end so, on a connection that stays open. Head and body may come apart."""
    received = b""
    while not received.endswith(ending) and (more := connection.recv(65_536)):
        received += more
    return received


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "sent",
    [b"POST /invocations HTT", head()[:-2], head() + RECORD[:20]],
    ids=["half a request line", "half a head", "half a body"],
)
def test_incomplete_request_is_answered_408_and_closed(impatient: RuntimeServer, sent: bytes) -> None:
    with impatient.connect() as connection:
        connection.sendall(sent)
        received = everything(connection)

    assert statuses(received)[-1] == 408
    assert b'"error_code":"BAD_REQUEST"' in received


def test_head_that_comes_byte_by_byte_gets_no_extra_time(impatient: RuntimeServer) -> None:
    with impatient.connect() as connection, pytest.raises(ConnectionError):
        for byte in PING * 1000:
            connection.send(bytes([byte]))
            time.sleep(0.2)  # so that a head takes 7 s, which is longer than the read timeout


def test_connection_without_a_request_is_closed(impatient: RuntimeServer) -> None:
    with impatient.connect() as connection:
        assert everything(connection) == b""


def test_silent_clients_do_not_keep_others_waiting(wine: RuntimeServer) -> None:
    silent = [wine.connect() for _ in range(200)]
    for number, connection in enumerate(silent):
        connection.sendall(head() + RECORD[:10] if number % 2 else head()[:40])

    answers = [wine.ask("POST", "/invocations", RECORD, JSON).status for _ in range(10)]

    assert answers == [200] * 10
    for connection in silent:
        connection.close()


def test_head_larger_than_the_limit_is_refused(wine: RuntimeServer) -> None:
    with wine.connect() as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nX-Filler: " + b"x" * 70_000)

        assert statuses(everything(connection)) == [431]


def test_head_larger_than_the_limit_is_refused_in_one_piece_too(wine: RuntimeServer) -> None:
    with wine.connect() as connection:
        connection.sendall(PING[:-2] + b"X-Filler: " + b"x" * 66_000 + b"\r\n\r\n")

        assert statuses(everything(connection)) == [431]


CHUNKED = head("Transfer-Encoding: chunked").replace(b"Content-Length: %d\r\n" % len(RECORD), b"")
LAST_CHUNK = b"%x\r\n%b\r\n0\r\n" % (len(RECORD), RECORD)


@pytest.mark.parametrize("endless", [b"X: " + b"x" * 600_000, b"X: x\r\n" * 100_000], ids=["one", "many"])
def test_trailers_larger_than_the_limit_are_refused(wine: RuntimeServer, endless: bytes) -> None:
    with wine.connect() as connection:
        connection.sendall(CHUNKED + LAST_CHUNK)
        with suppress(ConnectionError):  # of a server that closes before it has read all of it
            connection.sendall(endless)
            everything(connection)

    wine.awaited(lambda line: line.get("status") == 431 and "refused bytes" in line["message"])


def test_trailer_is_no_header_of_the_request(wine: RuntimeServer) -> None:
    with wine.connect() as connection:
        connection.sendall(CHUNKED + LAST_CHUNK + b"Content-Type: text/csv\r\nX-Request-ID: trailer\r\n\r\n")
        received = until(connection, b"]}")

    assert statuses(received) == [200]
    assert b"trailer" not in received


def test_client_that_closes_its_end_with_the_request_has_left(wine: RuntimeServer) -> None:
    with wine.connect() as connection:
        connection.sendall(PING)
        connection.shutdown(socket.SHUT_WR)
        everything(connection)

    assert wine.get("/ping").status == 200
    assert not [line for line in wine.lines() if line["level"] == "error"]


def test_bytes_after_a_body_are_refused_with_their_likely_cause(wine: RuntimeServer) -> None:
    """A client that counts letters sends the end of its body beyond its Content-Length."""
    with wine.connect() as connection:
        connection.sendall(head(length=len(RECORD) - 1) + RECORD)

        assert b"the Content-Length of that is too small" in everything(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /ping HTTP/1.1\nHost: x\n\n",
        head("Transfer-Encoding: chunked") + RECORD,
    ],
    ids=["the start of TLS", "no request", "lines without CR", "two lengths at once"],
)
def test_bytes_that_are_no_http_are_refused_in_mlflows_shape(wine: RuntimeServer, sent: bytes) -> None:
    """They are refused when they come: after the timeout for a head the status would be 408."""
    with wine.connect() as connection:
        connection.sendall(sent)
        received = everything(connection)

    assert statuses(received) == [400]
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error_code"] == "BAD_REQUEST"


def test_pipelined_requests_are_answered_in_order(wine: RuntimeServer) -> None:
    requests = [head(f"X-Request-ID: {number}") + RECORD for number in range(20)]
    with wine.connect() as connection:
        connection.sendall(b"".join(requests) + PING.replace(b"Host", b"Connection: close\r\nHost"))
        received = everything(connection)

    assert statuses(received) == [200] * 21
    assert [int(part.split(b"\r\n")[0]) for part in received.split(b"x-request-id: ")[1:-1]] == list(range(20))


def test_connection_serves_one_request_after_another(wine: RuntimeServer) -> None:
    client = wine.client()
    for _ in range(3):
        client.request("POST", "/invocations", RECORD, JSON)

        assert client.getresponse().read().startswith(b'{"predictions":')
    client.close()


def test_offer_of_another_protocol_is_ignored(wine: RuntimeServer) -> None:
    """Java's client makes it with its first request, and means the request all the same."""
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )
    whole = head(*offer) + RECORD
    with wine.connect() as connection:
        connection.sendall(whole[:90])  # the offer may be cut in two
        time.sleep(0.05)
        connection.sendall(whole[90:])
        received = until(connection, b"]}")

    assert statuses(received) == [200]
    assert b"predictions" in received


def test_client_that_expects_100_continue_sends_no_body_that_is_too_large(wine: RuntimeServer) -> None:
    with wine.connect() as connection:
        connection.sendall(head("Expect: 100-continue", length=1 << 40))

        assert statuses(connection.recv(65_536)) == [413]


def test_client_that_expects_100_continue_gets_it(wine: RuntimeServer) -> None:
    with wine.connect() as connection:
        connection.sendall(head("Expect: 100-continue"))
        permission = connection.recv(65_536)
        connection.sendall(RECORD)
        received = connection.recv(65_536)

    assert (statuses(permission), statuses(received)) == ([100], [200])


@pytest.mark.parametrize(
    ("sent", "answered"),
    [(PING + PING[:20], [200]), (head(length=1 << 30).replace(b"/invocations", b"/nowhere") + b"x" * 100, [404])],
    ids=["half a second request", "a body that nobody wants"],
)
def test_incomplete_request_after_an_answer_is_closed(
    impatient: RuntimeServer, sent: bytes, answered: list[int]
) -> None:
    with impatient.connect() as connection:
        connection.sendall(sent)

        assert statuses(everything(connection)) == answered


def test_server_is_alive_while_the_model_is_busy(sleeper: RuntimeServer) -> None:
    with held_calls() as held, waiting(sleeper, held.port) as connection:
        held.wait_for_call()
        alive = sleeper.get("/livez").status
        held.let_go()

        assert (alive, statuses(connection.recv(65_536))) == (200, [200])


def waiting(server: RuntimeServer, x: float, request_id: str = "") -> socket.socket:
    """Return a connection that waits for a prediction."""
    body = json.dumps({"inputs": {"x": [x]}}).encode()
    connection = server.connect()
    connection.sendall(head(f"X-Request-ID: {request_id}", length=len(body)) + body)
    return connection


def test_request_is_answered_429_if_the_queue_is_full(sleeper: RuntimeServer) -> None:
    with held_calls() as held, waiting(sleeper, held.port):
        held.wait_for_call()
        with waiting(sleeper, 0) as second:
            sleeper.wait_until_inflight(2)
            answer = sleeper.predict({"inputs": {"x": [0]}})
            held.let_go()
            assert statuses(second.recv(65_536)) == [200]

    assert (answer.status, answer.document["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert answer.headers["retry-after"] == "1"


def test_request_of_a_client_that_left_is_not_predicted(sleeper: RuntimeServer) -> None:
    with held_calls() as held, held_calls() as of_the_client, waiting(sleeper, held.port):
        held.wait_for_call()
        with waiting(sleeper, of_the_client.port, "left"):
            sleeper.wait_until_inflight(2)
        (line,) = sleeper.awaited(lambda line: line.get("request_id") == "left")
        held.let_go()

        assert line["status"] == 499
        assert sleeper.predict({"inputs": {"x": [0]}}).status == 200
        assert not of_the_client.has_new_call


def test_prediction_that_takes_too_long_is_answered_504(start: Callable[..., RuntimeServer], hard_models: Path) -> None:
    server = start(hard_models / "sleeper", "--workers", "1", "--timeout", "1")
    server.wait_until_ready()
    with held_calls() as held:
        answer = server.predict({"inputs": {"x": [held.port]}})

    assert (answer.status, answer.document["error_code"]) == (504, "DEADLINE_EXCEEDED")
