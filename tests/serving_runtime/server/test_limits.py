"""Too much, too long, too compressed: each has its own refusal, and the next request is right."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serving_runtime.http.body import FEW_PARTS, decompressed
from serving_runtime.http.errors import TooManyPartsError
from testbed.held_calls import held_calls
from testbed.runtime_server import JSON, NATIVE, RuntimeServer, serving

RECORD = json.dumps({"dataframe_records": [{"fixed acidity": 1.0, "pH": 2.0, "alcohol": 3.0}]}).encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.fixture(scope="module")
def limited(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = (*NATIVE, "--workers", "1", "--max-body", "100K", "--max-rows", "10")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("limited") / "log") as server:
        yield server


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(RECORD), "gzip"),
        (gzip.compress(RECORD), "X-GZIP"),
        (gzip.compress(RECORD[:20]) + gzip.compress(RECORD[20:]), "gzip"),
        (zlib.compress(RECORD), "deflate"),
        (raw_deflate(RECORD), "deflate"),
        (RECORD, "identity"),
        (RECORD, ""),
        (gzip.compress(RECORD), "identity, gzip,"),
    ],
    ids=[
        "gzip",
        "its old name",
        "gzip in two parts",
        "deflate",
        "deflate without its header",
        "identity",
        "nothing",
        "a list with items that say nothing",
    ],
)
def test_packed_body_is_unpacked(limited: RuntimeServer, body: bytes, encoding: str) -> None:
    answer = limited.ask("POST", "/invocations", body, JSON | {"Content-Encoding": encoding})

    assert answer.document == limited.ask("POST", "/invocations", RECORD, JSON).document


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * (10 << 20)), "gzip", 413),
        (gzip.compress(b" " * (60 << 10)) * 2, "gzip", 413),
        (RECORD, "gzip", 400),
        (gzip.compress(RECORD)[:-9], "gzip", 400),
        (gzip.compress(RECORD) + b"more", "gzip", 400),
        (RECORD, "deflate", 400),
        (gzip.compress(b"") * 2000, "gzip", 413),
        (RECORD, "br", 415),
        (RECORD, "gzip, gzip", 415),
    ],
    ids=[
        "a bomb",
        "a bomb in parts",
        "not compressed",
        "cut",
        "with something behind",
        "not deflated",
        "parts of nothing",
        "another way",
        "twice",
    ],
)
def test_body_that_cannot_be_unpacked_is_refused(
    limited: RuntimeServer, body: bytes, encoding: str, status: int
) -> None:
    answer = limited.ask("POST", "/invocations", body, JSON | {"Content-Encoding": encoding})

    assert answer.status == status
    assert limited.ask("POST", "/invocations", RECORD, JSON).status == 200


def test_body_of_many_parts_with_content_is_unpacked() -> None:
    data = bytes(range(256)) * 4096
    compressed = b"".join(gzip.compress(data[at : at + 600], 1) for at in range(0, len(data), 600))

    assert decompressed(compressed, "gzip", limit=len(data)) == data


def test_body_of_empty_parts_is_refused_after_a_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    begin = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda header: begun.append(header) or begin(header))
    with pytest.raises(TooManyPartsError):
        decompressed(gzip.compress(b"") * 200_000, "gzip", limit=100 << 20)

    assert len(begun) == FEW_PARTS


def is_kept_by(server: RuntimeServer, connection: socket.socket) -> bool:
    """Return True if the server has not closed its end of the connection. What it had sent may not have come."""
    ends = [f":{port:04X}" for port in (server.port, connection.getsockname()[1])]
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    return any([line[1][-5:], line[2][-5:], line[3]] == [*ends, "01"] for line in lines)


def test_client_that_takes_nothing_of_a_long_answer_is_hung_up_on(
    start: Callable[..., RuntimeServer], models: Path
) -> None:
    server = start(models / "chosen", "--workers", "1", "--read-timeout", "2")
    server.wait_until_ready()
    body = json.dumps({"inputs": ["'x' * 50_000_000"]}).encode()
    head = (
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length:"
        f" {len(body)}\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head.encode() + body)
        server.wait_until(lambda: not is_kept_by(server, connection))
        received = 0
        with suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 20):
                received += len(chunk)

        assert received < 50_000_000
    assert server.get("/livez").status == 200


def test_more_rows_than_the_limit_are_refused(limited: RuntimeServer) -> None:
    rows = [json.loads(RECORD)["dataframe_records"][0]] * 11

    assert limited.predict({"dataframe_records": rows[:10]}).status == 200
    assert limited.predict({"dataframe_records": rows}).status == 413


def test_nested_body_is_refused(limited: RuntimeServer) -> None:
    answer = limited.ask("POST", "/invocations", b'{"inputs": ' + b"[" * 90_000, JSON)

    assert answer.status == 400


@pytest.mark.parametrize(
    "given", ["0", "-1", "1.5", "soon", ""], ids=["zero", "negative", "a fraction", "a word", "nothing"]
)
def test_malformed_time_limit_is_refused(limited: RuntimeServer, given: str) -> None:
    answer = limited.ask("POST", "/invocations", RECORD, JSON | {"X-Request-Timeout-Ms": given})

    assert answer.status == 400
    assert "x-request-timeout-ms" in answer.document["message"]


def test_request_may_ask_for_less_time_than_it_has(sleeper: RuntimeServer) -> None:
    headers = JSON | {"X-Request-Timeout-Ms": "50"}
    with held_calls() as held:
        answer = sleeper.ask("POST", "/invocations", json.dumps({"inputs": {"x": [held.port]}}), headers)

    assert (answer.status, answer.document["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert sleeper.predict({"inputs": {"x": [0]}}).status == 200
