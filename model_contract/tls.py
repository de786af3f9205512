"""TLS settings of a client: its trusted authorities and its own certificate.

MLFLOW_TRACKING_SERVER_CERT_PATH > SSL_CERT_FILE and SSL_CERT_DIR > the system's authorities
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from model_contract.names import CA_DIRECTORY, CA_FILE, CLIENT_CERT_PATH, SERVER_CERT_PATH

INSECURE: Final = "MLFLOW_TRACKING_INSECURE_TLS"
OFF: Final = {"", "0", "false"}


class TlsSettingError(ValueError):
    """A variable names a file or directory that cannot be used. The message has the variable and its value."""


def tls_context(environ: Mapping[str, str], *, tracking: bool = True) -> ssl.SSLContext:
    """Return the context for these variables, with `tracking` also for MLflow's own. Raises TlsSettingError."""
    check_authorities(environ)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = environ.get(SERVER_CERT_PATH, "") if tracking else ""
    if named:
        _load_authorities(context, SERVER_CERT_PATH, named)
    elif environ.get(CA_FILE) or environ.get(CA_DIRECTORY):
        for name in (CA_FILE, CA_DIRECTORY):
            if environ.get(name):
                _load_authorities(context, name, environ[name])
    else:
        context.load_default_certs()
    if tracking:
        _check_insecure(environ.get(INSECURE, ""))
        _load_own_certificate(context, environ.get(CLIENT_CERT_PATH, ""))
    return context


def names_tls(environ: Mapping[str, str], *, tracking: bool = True) -> bool:
    """Return True if a variable sets TLS, so that a library's own default must not be used."""
    own = (SERVER_CERT_PATH, CLIENT_CERT_PATH, INSECURE) if tracking else ()
    return any(environ.get(name) for name in (CA_FILE, CA_DIRECTORY, *own))


def check_authorities(environ: Mapping[str, str]) -> None:
    """Raise TlsSettingError if a variable names a missing path: OpenSSL ignores it, and then trusts no server."""
    if (path := environ.get(CA_FILE)) and not _exists(path, directory=False):
        raise TlsSettingError(f"{CA_FILE} names {_shown(path)}, which is not a file")
    # OpenSSL takes several, of which some may be missing: distributions set such lists.
    if (path := environ.get(CA_DIRECTORY)) and not any(
        _exists(one, directory=True) for one in path.split(os.pathsep) if one
    ):
        raise TlsSettingError(f"{CA_DIRECTORY} names {_shown(path)}, which is not a directory")


def _check_insecure(value: str) -> None:
    if value.strip().lower() not in OFF:
        raise TlsSettingError(
            f"{INSECURE} is set, and is refused: the token would be sent to any server that answers; name the server's"
            f" authority in {SERVER_CERT_PATH}"
        )


def _load_authorities(context: ssl.SSLContext, name: str, path: str) -> None:
    try:
        if name == CA_DIRECTORY:
            for one in filter(None, path.split(os.pathsep)):
                context.load_verify_locations(capath=one)
        elif _exists(path, directory=True) and name == SERVER_CERT_PATH:
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise TlsSettingError(
            f"{name} names {_shown(path)}, which holds no certificates in PEM form: {_reason(error)}"
        ) from None


def _load_own_certificate(context: ssl.SSLContext, path: str) -> None:
    if not path:
        return
    try:
        context.load_cert_chain(path, password=_no_password)
    except (OSError, ValueError) as error:
        raise TlsSettingError(
            f"{CLIENT_CERT_PATH} names {_shown(path)}, which must hold a certificate and its key without a password:"
            f" {_reason(error)}"
        ) from None


def _no_password() -> str:
    """Return an empty password: without this function, OpenSSL asks at the terminal."""
    return ""


def _exists(path: str, *, directory: bool) -> bool:
    try:
        return Path(path).is_dir() if directory else Path(path).is_file()
    except (OSError, ValueError):
        return False


def _shown(path: str) -> str:
    return path if path.isprintable() and path.isascii() else ascii(path)


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
