"""Requests that two servers could read in two ways: refused, and never two requests for MLflow."""

import gzip
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from testbed.gate import API, Gate, gate
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE
from testbed.slow_clients import connected, head_of, rest_of
from tests.tracking_gate.conftest import wine_behind

SEARCH = f"{API}/experiments/search?max_results=1"
SEARCH_ALL = f"{API}/experiments/search"
SMUGGLED = b"GET /no/such HTTP/1.1\r\nHost: gate\r\n\r\n"


def raw(
    found: Gate, *lines: str, body: bytes = b"", target: str = SEARCH, method: str = "GET", end: str = "\r\n"
) -> bytes:
    """Return the answer's bytes to a request of Jane's that is sent byte by byte as given."""
    jane = found.basic("jane")["Authorization"]
    head = [f"{method} {target} HTTP/1.1", "Host: gate", f"Authorization: {jane}", "Connection: close", *lines]
    with connected(found.uri, (end.join(head) + end + end).encode("latin-1") + body) as client:
        return rest_of(client)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 0", "Content-Length: 40"],
        ["Content-Length: 40", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip, chunked, gzip"],
        ["Transfer-Encoding: xchunked"],
        ["Content-Length: +4"],
        ["Content-Length: 0x4"],
        ["Content-Length: -1"],
        ["Content-Length: 4, 4"],
        ["Content-Length : 4"],
        ["X: a", " folded"],
        ["X\x00: a"],
        ["X: a\x00b"],
        ["X: a\rb"],
        [": no name"],
        ["no colon"],
        ["X Y: name with a space"],
        ["X: a\xff"],
    ],
    ids=lambda lines: "+".join(lines)[:40],
)
def test_head_that_can_be_read_in_two_ways_is_refused(gate_3: Gate, lines: list[str]) -> None:
    answer = raw(gate_3, *lines, body=SMUGGLED)

    assert status_of(answer) == 400, answer[:200]
    assert answer.count(b"HTTP/1.") == 1
    assert "Traceback" not in gate_3.process.log.read_text()


@pytest.mark.parametrize("version", ["0.9", "2.0"])
@pytest.mark.parametrize("target", [SEARCH, "/livez"])
def test_other_version_of_http_is_answered_in_1_1(gate_3: Gate, version: str, target: str) -> None:
    """RFC 9110, 15.6.6: the answer is in a version that this server has."""
    with connected(gate_3.uri, head_of("GET", target).replace(b"HTTP/1.1", f"HTTP/{version}".encode())) as client:
        answer = rest_of(client)

    assert answer.startswith(b"HTTP/1.1 505 ")
    assert b"send HTTP/1.1" in answer


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "Deflate,chunked"])
def test_body_in_a_coding_that_would_be_lost_is_refused(gate_3: Gate, coding: str) -> None:
    """Its chunks are of coded bytes, which MLflow would take for the body."""
    answer = raw(gate_3, f"Transfer-Encoding: {coding}", body=b"2\r\n{}\r\n0\r\n\r\n", method="POST", target=SEARCH_ALL)

    assert (status_of(answer), b"and no other coding" in answer) == (400, True)


def test_lines_that_end_without_a_carriage_return_are_refused(gate_3: Gate) -> None:
    assert status_of(raw(gate_3, end="\n")) == 400


@pytest.mark.parametrize(
    "target",
    [
        "http://gate" + SEARCH,
        "//gate" + SEARCH,
        "*",
        "gate:80",
        SEARCH + "#x",
        API + "/../experiments/search",
        SEARCH.replace("?", "%3f"),
    ],
)
def test_target_of_another_form_is_refused(gate_3: Gate, target: str) -> None:
    assert status_of(raw(gate_3, target=target)) in {400, 403}


def test_many_headers_are_refused(gate_3: Gate) -> None:
    assert status_of(raw(gate_3, *(f"X-{number}: x" for number in range(200)))) == 400


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "tcp", "h2c, websocket"])
def test_connection_does_not_become_another_protocol(gate_3: Gate, upgrade: str) -> None:
    lines = [f"Upgrade: {upgrade}", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    jane = gate_3.basic("jane")["Authorization"]
    head = [f"GET {SEARCH} HTTP/1.1", "Host: gate", "Connection: Upgrade", f"Authorization: {jane}", *lines]
    with connected(gate_3.uri, "\r\n".join([*head, "", ""]).encode() + SMUGGLED) as client:
        answer = client.recv(65536)

    assert status_of(answer) == 403


def test_offer_of_http_2_is_ignored(gate_3: Gate) -> None:
    """Java's client makes it with each request, on a connection that it keeps."""
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    headers = gate_3.basic("jane") | {"Content-Type": "application/json"} | offer
    connection = http.client.HTTPConnection(urlsplit(gate_3.uri).netloc, timeout=PATIENCE)
    answers = []
    for _ in range(2):
        connection.request("POST", SEARCH_ALL, b'{"max_results": 1}', headers)
        answer = connection.getresponse()
        answers.append((answer.status, answer.will_close, b"experiments" in answer.read()))
    connection.close()

    assert answers == [(200, False, True)] * 2


@pytest.mark.parametrize("line", ["X: " + "x" * 17_000, "x" * 17_000 + ": x"], ids=["value", "name"])
def test_long_header_is_named(gate_3: Gate, line: str) -> None:
    answer = raw(gate_3, line)

    assert status_of(answer) == 431
    assert b"has more than 16384 bytes" in answer


def test_trailers_say_nothing(gate_3: Gate) -> None:
    """A trailer after a chunked body is not read as a header."""
    head = head_of("GET", SEARCH, {"Transfer-Encoding": "chunked", "Connection": "close"})
    with connected(
        gate_3.uri, head + f"0\r\nAuthorization: {gate_3.basic('jane')['Authorization']}\r\n\r\n".encode()
    ) as client:
        assert status_of(rest_of(client)) == 401


def test_head_is_answered_without_a_body(gate_3: Gate) -> None:
    head, _, body = raw(gate_3, method="HEAD", target="/version").partition(b"\r\n\r\n")

    assert status_of(head) in {200, 405}
    assert body == b""


def test_body_of_a_guarded_operation_is_not_unpacked(gate_3: Gate) -> None:
    """The body has 10 MB of text in 10 KB."""
    packed = gzip.compress(b'{"name": "' + b"x" * 10_000_000 + b'"}')
    headers = gate_3.basic("jane") | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    refused = gate_3.ask("POST", f"{API}/registered-models/create", packed, headers)

    assert (refused.status, refused.message) == (
        400,
        "send the body uncompressed: Content-Encoding is not supported here",
    )


def test_many_fields_with_a_double_are_read_in_a_moment(gate_3: Gate) -> None:
    """Reading does not take minutes, in which all other requests would wait."""
    fields = ", ".join(f'"{number}": 0' for number in range(70_000))
    headers = gate_3.basic("jane") | {"Content-Type": "application/json"}
    refused = gate_3.ask("POST", f"{API}/registered-models/create", f'{{{fields}, "69999": 1}}'.encode(), headers)

    assert (refused.status, refused.message) == (400, "the field '69999' comes twice")


def test_many_large_bodies_at_once_take_little_memory(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    """Each body has 1 MiB and is held while the gate looks up the owner of a model of another project."""
    with gate(mlflow_3_18, tmp_path / "gate") as found:
        content = json.dumps({"name": wine_behind(found).name, "description": "x" * 1_000_000}).encode()
        headers = found.basic("olga") | {"Content-Type": "application/json"}

        def update(_: int) -> int:
            return found.ask("PATCH", f"{API}/registered-models/update", content, headers).status

        with ThreadPoolExecutor(100) as pool:
            statuses = set(pool.map(update, range(100)))
        status = Path(f"/proc/{found.process.popen.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    assert 403 in statuses <= {403, 429, 503}
    assert peak < 300 * 1024  # KiB
