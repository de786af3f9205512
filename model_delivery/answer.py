"""The body of an HTTP answer, read in pieces: one that stalls, or ends before its end, is an error."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from model_delivery.errors import InvalidInputError, TransientError
from model_delivery.patience import Patience

CHUNK: Final = 1 << 18


class Answer:
    """An answer whose body is still to be read."""

    def __init__(self, what: str, response: http.client.HTTPResponse, sock: socket.socket, patience: Patience) -> None:
        self.status = response.status
        self.headers = response.headers
        self.reusable = False  # whether the connection can take another request
        self._what = what
        self._response = response
        self._socket = sock
        self._patience = patience
        self._length = response.length

    @property
    def delimited(self) -> bool:
        """Whether the end of the body is marked, so that a cut one is recognised."""
        return self._response.chunked or self._length is not None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises TransientError where it stalls, or ends before its end."""
        received = 0
        while chunk := self._read(received):
            received += len(chunk)
            yield chunk
        if self._length is not None and received < self._length:
            raise TransientError(f"{self._what}: the connection was cut after {received} of {self._length} bytes")
        self.reusable = not self._response.will_close

    def body(self, longest: int) -> bytes:
        """The whole body. Raises InvalidInputError where it is longer than `longest`."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > longest:
                raise InvalidInputError(f"{self._what}: the answer is longer than {longest} bytes")
        return bytes(body)

    def close(self) -> None:
        """Lets go of the socket: an answer that ends with its connection holds it on its own."""
        self._response.close()

    def _read(self, received: int) -> bytes:
        # Never more than the body has left: on a kept connection a longer read would wait for an answer that nobody asked for.
        wanted = CHUNK if self._length is None else min(CHUNK, self._length - received)
        if not wanted:
            return b""
        self._socket.settimeout(self._patience.read_timeout())
        with network_errors(self._what):
            return self._response.read1(wanted)


@contextmanager
def network_errors(what: str) -> Iterator[None]:
    """Turns what sockets, TLS and HTTP raise into errors of ours."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise InvalidInputError(
            f"{what}: the server's certificate is not trusted ({error.verify_message}); name the CA's file in SSL_CERT_FILE"
        ) from error
    except TimeoutError as error:
        raise TransientError(f"{what}: the server sent nothing in time") from error
    except http.client.IncompleteRead as error:
        raise TransientError(f"{what}: the connection was cut in the middle of the answer") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{what}: {error or type(error).__name__}") from error
