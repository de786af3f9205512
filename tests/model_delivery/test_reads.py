"""Reads of a body that the network brings in small pieces."""

import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from model_delivery.client import Client
from model_delivery.deadline import Deadline, Limits
from model_delivery.tracking_uri import TrackingUri
from testbed.http_server import in_thread
from tests.model_delivery.test_upstream import server_tls

PIECE = bytes(range(256)) * 64  # 16 KiB, as a record of TLS has
PIECES = 1000
BODY = PIECE * PIECES + b"the rest"


class InPieces(BaseHTTPRequestHandler):
    """A server whose system gets the body in small pieces."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        for _ in range(PIECES):
            self.wfile.write(PIECE)
        self.wfile.write(b"the rest")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_each_byte_of_small_pieces_comes_once(scheme: str) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context() if scheme == "https" else None
    server = ThreadingHTTPServer(("127.0.0.1", 0), InPieces)
    if tls:
        authority.configure_trust(tls)
        server.socket = server_tls(authority).wrap_socket(server.socket, server_side=True)
    uri = TrackingUri(scheme=scheme, host="127.0.0.1", port=server.server_port)
    body = bytearray()
    with in_thread(server):
        client = Client(uri, credential=None, proxy=None, deadline=Deadline(Limits()), tls=tls)
        for _ in range(2):
            body.clear()
            with client.get("the body", "/", {}) as answer:
                for chunk in answer.chunks():
                    body += chunk
            assert bytes(body) == BODY
        client.close()
