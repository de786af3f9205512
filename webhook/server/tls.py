"""The TLS certificate of the server: it is read again when its files change, and only as a whole pair.

Certificate and key are two files that cannot be replaced at once. While they do not fit together, the last good pair is
served.
"""

import logging
import mmap
import ssl
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.x509 import load_pem_x509_certificate

from webhook.server.settings import TLS_VERSIONS, ServerSettings

ALPN: Final = ["http/1.1"]

_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


class CertificateError(Exception):
    """The files do not hold a certificate and its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCertificate:
    """A TLS context with one certificate, the end of its validity, and the stamps of the files it was read from."""

    context: ssl.SSLContext
    not_after: datetime
    stamps: tuple[Stamp, ...]


def load_certificate(settings: ServerSettings) -> LoadedCertificate:
    """Return the certificate in the files. Raises CertificateError, which names the file and not its content."""
    files = (settings.certificate_file, settings.key_file)
    try:
        # Taken first: a change while the files are read makes these stamps old, and the next connection reads again.
        stamps = tuple(map(stamp, files))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = TLS_VERSIONS[settings.tls_minimum]
        context.set_alpn_protocols(ALPN)
        context.load_cert_chain(*files, password=_no_password)
        not_after = load_pem_x509_certificate(settings.certificate_file.read_bytes()).not_valid_after_utc
    except OSError as error:  # ssl.SSLError is one too
        reason = error.reason if isinstance(error, ssl.SSLError) else f"{error.filename or ''}: {error.strerror}"
        raise CertificateError(f"{files[0]} and {files[1]} are no certificate and its key ({reason})") from error
    except ValueError as error:
        raise CertificateError(f"{files[0]} holds no certificate in PEM") from error
    return LoadedCertificate(context=context, not_after=not_after, stamps=stamps)


def stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _no_password() -> str:
    """Raise ValueError; without this function, OpenSSL asks for the password at a terminal."""
    raise ValueError("the key has a password")


class ServerCertificate:
    """The current pair of one process. It is made before the fork: of all processes one reports a change of the files.

    `on_reload` is called with that report: True if the pair could be read, and the certificate that is served.
    """

    def __init__(self, settings: ServerSettings, on_reload: Callable[[bool, LoadedCertificate], None]) -> None:
        """Read the files. Raises CertificateError."""
        self._settings = settings
        self._on_reload = on_reload
        self._served = load_certificate(settings)
        self._tried = self._served.stamps
        self._reported = memoryview(mmap.mmap(-1, 4)).cast("I")
        self._reported[0] = checksum(self._tried)

    @property
    def not_after(self) -> datetime:
        return self._served.not_after

    def fault(self) -> str | None:
        """Return the reason if the certificate has expired; None otherwise."""
        return (
            None
            if datetime.now(UTC) < self.not_after
            else f"the certificate was valid until {self.not_after.isoformat()}"
        )

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection, read again if the files changed."""
        stamps = self._stamps()
        if stamps is not None and stamps != self._tried:
            self._tried = stamps
            self._reload(stamps)
        return self._served.context

    def _stamps(self) -> tuple[Stamp, ...] | None:
        """Return the stamps of both files; None while one is missing, as it is for a moment during a replacement."""
        try:
            return stamp(self._settings.certificate_file), stamp(self._settings.key_file)
        except OSError:
            return None

    def _reload(self, stamps: tuple[Stamp, ...]) -> None:
        refused: CertificateError | None = None
        try:
            self._served = load_certificate(self._settings)
        except CertificateError as error:
            refused = error
        if self._reported[0] == checksum(stamps):
            return
        self._reported[0] = checksum(stamps)
        self._on_reload(refused is None, self._served)
        if refused is None:
            _log.info("the certificate is read again", extra={"fields": {"not_after": self.not_after.isoformat()}})
        else:
            _log.warning(
                "the certificate's files changed and do not fit together; the former certificate is still served",
                extra={"fields": {"error": str(refused)}},
            )


def checksum(stamps: tuple[Stamp, ...]) -> int:
    return zlib.crc32(repr(stamps).encode())
