"""Test which protocol a port speaks, to explain a failure. No certificate, credential or path is sent."""

import socket
import ssl
from contextlib import suppress
from typing import Final

TIMEOUT: Final = 3.0  # seconds, for each step
HTTP_QUESTION: Final = b"HEAD / HTTP/1.0\r\n\r\n"
HTTP_BEGINNING: Final = b"HTTP/"


def speaks_tls(host: str, port: int) -> bool:
    """Return True if the port answers a TLS handshake. Nothing is sent over it, so its certificate is not checked."""
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
    """Return True if the port answers a request without TLS in HTTP."""
    with suppress(OSError, ValueError), socket.create_connection((host, port), TIMEOUT) as plain:
        plain.sendall(HTTP_QUESTION)
        return plain.recv(len(HTTP_BEGINNING), socket.MSG_WAITALL) == HTTP_BEGINNING
    return False
