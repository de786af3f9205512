"""Calls that no client of gRPC should make: each has its own end, and the next call is answered."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from serving_runtime.rpc.health import WATCH
from testbed.processes import PATIENCE
from testbed.rpc_client import DATA, INFER, RpcClient, call_head, connect, frame, message, rpc_client
from testbed.runtime_server import NATIVE, RuntimeServer, serving
from tests.serving_runtime.server.test_rpc_calls import REQUEST

LIVE = "/inference.GRPCInferenceService/ServerLive"
MEGABYTE = 1 << 20
LEFT = 10_000  # calls that are opened, and get no message


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = (*NATIVE, "--workers", "1", "--max-body", "100K")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("rpc-hostile") / "log", grpc=True) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = (*NATIVE, "--workers", "1", "--read-timeout", "2", "--timeout", "2")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("rpc-impatient") / "log", grpc=True) as server:
        yield server


@pytest.fixture
def client(server: RuntimeServer) -> Iterator[RpcClient]:
    with rpc_client(server.grpc_port) as client:
        yield client
        assert client.call(INFER, REQUEST).status == "OK"


def peak(server: RuntimeServer) -> int:
    """Return the most memory that the worker has had, in bytes."""
    (worker,) = server.workers()
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("body", [b"\xff" * 100, REQUEST[:-3], b"\x0a\xff\xff\xff\xff\x0f", bytes(1000)])
def test_message_that_is_no_protobuf_is_refused(body: bytes, client: RpcClient) -> None:
    refused = client.call(INFER, body)

    assert (refused.status, refused.details) == (
        "INVALID_ARGUMENT",
        "the message is no inference.ModelInferRequest",
    )


def test_message_above_the_limit_is_refused(client: RpcClient, server: RuntimeServer) -> None:
    before = peak(server)

    assert client.call(INFER, bytes(200 * MEGABYTE)).status == "RESOURCE_EXHAUSTED"
    assert peak(server) - before < 50 * MEGABYTE


def test_compressed_message_is_refused_before_it_is_unpacked(server: RuntimeServer, client: RpcClient) -> None:
    before = peak(server)
    with rpc_client(server.grpc_port, compression=grpc.Compression.Gzip) as packing:
        refused = packing.call(INFER, bytes(100 * MEGABYTE))

    assert refused.status == "UNIMPLEMENTED"
    assert "gzip" in refused.details
    assert peak(server) - before < 50 * MEGABYTE


def test_metadata_above_the_limit_is_refused(client: RpcClient) -> None:
    assert client.call(INFER, REQUEST, metadata=(("x-large", "a" * 70_000),)).status == "RESOURCE_EXHAUSTED"
    assert client.call(INFER, REQUEST, metadata=(("x-large", "a" * 50_000),)).status == "OK"


@pytest.mark.parametrize("path", ["/nowhere", "/inference.GRPCInferenceService/ModelInferr", "/a/b/c", "/"])
def test_unknown_method_is_refused(path: str, client: RpcClient) -> None:
    assert client.call(path, REQUEST).status == "UNIMPLEMENTED"


def test_call_without_a_message_is_refused(client: RpcClient) -> None:
    def nothing() -> Iterator[bytes]:
        yield from ()

    with pytest.raises(grpc.RpcError) as refusal:
        client.channel.stream_unary(INFER)(nothing(), timeout=PATIENCE)

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_second_message_of_a_call_is_ignored(client: RpcClient) -> None:
    assert client.channel.stream_unary(INFER)(iter([REQUEST, b"\xff"]), timeout=PATIENCE)


def test_path_that_is_no_text_costs_no_other_client_its_answer(server: RuntimeServer, client: RpcClient) -> None:
    """grpcio's server stops accepting calls for ever when it cannot decode a path."""
    workers = server.workers()
    with connect(server.grpc_port) as connection:
        connection.sendall(call_head(1, b"/\xff\xfe") + message(1, b""))
        server.awaited(lambda line: "is replaced" in line["message"])

    server.wait_until(lambda: client.call(INFER, REQUEST).status == "OK")
    assert server.workers() == workers


@pytest.mark.parametrize("name", [b"authorization", b"x-request-id", b"traceparent"])
def test_metadata_that_is_no_text_is_read_or_refused(name: bytes, server: RuntimeServer, client: RpcClient) -> None:
    with connect(server.grpc_port) as connection:
        connection.sendall(call_head(1, LIVE.encode(), [(name, b"\xff\xe9")]) + message(1, b""))

        assert received(connection, b"grpc-status")


def test_calls_that_are_opened_and_left_keep_no_other_client_out(server: RuntimeServer, client: RpcClient) -> None:
    left = []
    for _ in range(LEFT // 250):
        left.append(connect(server.grpc_port))
        left[-1].sendall(b"".join(call_head(2 * number + 1) for number in range(250)))

    # A connection that is asked to go meanwhile may cost a call, as gRPC says with UNAVAILABLE.
    server.wait_until(lambda: client.call(INFER, REQUEST).status == "OK")
    server.awaited(lambda line: line.get("status") == 408)
    for connection in left:
        connection.close()


def test_call_whose_message_does_not_come_ends_after_the_timeout(impatient: RuntimeServer) -> None:
    with connect(impatient.grpc_port) as connection:
        connection.sendall(call_head(1) + frame(DATA, 0, 1, b"\0" + struct.pack(">I", 100) + b"half"))

        assert received(connection, b"grpc-status\x014")


def test_connection_that_is_cut_in_a_message_is_forgotten(server: RuntimeServer, client: RpcClient) -> None:
    connection = connect(server.grpc_port)
    head = call_head(1, headers=[(b"x-request-id", b"cut-off")])
    connection.sendall(head + frame(DATA, 0, 1, b"\0" + struct.pack(">I", 1000) + b"half"))
    received(connection, b"\0\0\0\0")
    connection.close()

    assert server.awaited(lambda line: line.get("request_id") == "cut-off")[0]["status"] in {400, 499}


def test_bytes_that_are_no_http2_are_hung_up_on(impatient: RuntimeServer) -> None:
    with socket.create_connection(("127.0.0.1", impatient.grpc_port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        with suppress(ConnectionResetError):
            while connection.recv(1 << 16):
                continue


def test_client_that_says_nothing_is_hung_up_on(impatient: RuntimeServer) -> None:
    with (
        socket.create_connection(("127.0.0.1", impatient.grpc_port), timeout=PATIENCE) as connection,
        suppress(ConnectionResetError),
    ):
        while connection.recv(1 << 16):
            continue


def test_streams_of_health_have_a_limit(client: RpcClient) -> None:
    watching = [client.channel.unary_stream(WATCH.path)(b"", timeout=PATIENCE) for _ in range(101)]
    states = []
    for stream in watching:
        try:
            states.append(WATCH.response.FromString(next(stream)).status)
        except grpc.RpcError as error:
            states.append(error.code())
    for stream in watching:
        stream.cancel()

    assert states.count(1) == 100
    assert states.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 1


def received(connection: socket.socket, wanted: bytes) -> bool:
    """Read until these bytes come, and return True; False if the connection ends before."""
    found = b""
    while wanted not in found:
        piece = connection.recv(1 << 16)
        if not piece:
            return False
        found += piece
    return True
