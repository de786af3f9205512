"""Ask a port which protocol it speaks, to explain a failure: without certificates, credentials or a path."""

import socket
import ssl
from contextlib import suppress
from typing import Final

TIMEOUT: Final = 3.0  # seconds, for each step
HTTP_QUESTION: Final = b"HEAD / HTTP/1.0\r\n\r\n"
HTTP_BEGINNING: Final = b"HTTP/"


def speaks_tls(host: str, port: int) -> bool:
    """Return if a TLS handshake gets anywhere. Nothing is sent over it, so it does not matter who answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(OSError, ValueError), socket.create_connection((host, port), TIMEOUT) as plain:
        try:
            context.wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")  # only TLS has alerts
        return True
    return False


def speaks_http(host: str, port: int) -> bool:
    """Return if a request without TLS is answered as HTTP does."""
    with suppress(OSError, ValueError), socket.create_connection((host, port), TIMEOUT) as plain:
        plain.sendall(HTTP_QUESTION)
        return plain.recv(len(HTTP_BEGINNING), socket.MSG_WAITALL) == HTTP_BEGINNING
    return False
