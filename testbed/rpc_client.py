"""A client of gRPC that sends and gets bytes, and HTTP/2 frames for what no such client sends."""

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc

from serving_runtime.protocols.open_inference.messages import INFERENCE
from testbed.processes import PATIENCE

INFER: Final = INFERENCE.method("ModelInfer").path
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
HEADER: Final = 9  # bytes before a frame's payload
SEVEN_BITS: Final = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcAnswer:
    """The end of a call: the name of its status, its sentence, the response and the trailing metadata."""

    status: str
    details: str
    body: bytes
    metadata: Mapping[str, Any]


class RpcClient:
    """One channel with a connection of its own."""

    def __init__(self, port: int, **options: Any) -> None:
        arguments = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=arguments, **options)

    def call(
        self, path: str, body: bytes = b"", *, seconds: float = PATIENCE, metadata: Sequence[tuple[str, str]] = ()
    ) -> RpcAnswer:
        try:
            response, call = self.channel.unary_unary(path).with_call(body, timeout=seconds, metadata=metadata)
        except grpc.RpcError as error:
            response, call = b"", error
        trailing = {entry.key: entry.value for entry in call.trailing_metadata() or ()}
        return RpcAnswer(status=call.code().name, details=call.details() or "", body=response, metadata=trailing)


@contextmanager
def rpc_client(port: int, **options: Any) -> Iterator[RpcClient]:
    client = RpcClient(port, **options)
    try:
        yield client
    finally:
        client.channel.close()


def connect(port: int) -> socket.socket:
    """Return a connection on which HTTP/2 has begun."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
    return connection


def call_head(stream: int, path: bytes = INFER.encode(), headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return the frame that opens a call."""
    own = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"x"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in (*own, *headers))
    return frame(HEADERS, END_HEADERS, stream, block)


def message(stream: int, body: bytes, *, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, b"\0" + struct.pack(">I", len(body)) + body)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(text: bytes) -> bytes:
    """Return a literal of HPACK, without Huffman's code."""
    rest, length = len(text) - SEVEN_BITS, bytearray()
    if rest < 0:
        return bytes((len(text),)) + text
    length.append(SEVEN_BITS)
    while rest > SEVEN_BITS:
        length.append(rest & SEVEN_BITS | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes(length) + text
