"""What an admin decides about the server itself: where it listens, what it shows to the API server, how
long it waits.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.quantity import Quantity
from webhook import setting_values as read
from webhook.setting_fields import read_settings, setting
from webhook.settings import SERVER_PREFIX

TLS_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
HIGHEST_PORT: Final = 65535


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= HIGHEST_PORT):
        raise ValueError(f"it must be a port from 1 to {HIGHEST_PORT}")
    return int(text)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(text)

    return number


def _path(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError("it must be an absolute path")
    return Path(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Every field is a variable: `MODEL_API_WEBHOOK_SERVER_` and its name in capitals. Times are in seconds."""

    host: str = setting("The address to listen on.", read=str, default="0.0.0.0")  # noqa: S104  a pod's
    port: int = setting("The port for reviews, over TLS.", read=_port, default="9443")
    metrics_port: int = setting("The port for metrics, without TLS.", read=_port, default="8080")
    certificates: str = setting(
        "`files` reads the pair that somebody else renews; `self-managed` issues, renews and registers it, and writes"
        " it there.",
        read=read.one_of("files", "self-managed"),
        default="files",
    )
    certificate_file: Path = setting(
        "The certificate with its chain, PEM; it is read again when it changes.",
        read=_path,
        default="/run/model-api-webhook/tls/tls.crt",
    )
    key_file: Path = setting(
        "Its private key, PEM; it may be the same file.", read=_path, default="/run/model-api-webhook/tls/tls.key"
    )
    tls_minimum: str = setting(
        "The oldest version of TLS that is spoken.", read=read.one_of(*TLS_VERSIONS), default="1.2"
    )
    threads: int = setting("Reviews at a time.", read=_whole(1, 256), default="16")
    # The API server keeps idle connections for 90 s: the side that closes first must not be the one that is being
    # asked.
    keepalive: int = setting("How long an idle connection is kept.", read=_whole(1, 3600), default="95")
    graceful_timeout: int = setting(
        "How long a stop waits for reviews that are under way.", read=_whole(1, 600), default="20"
    )
    read_timeout: int = setting("How long a request may take to arrive.", read=_whole(1, 600), default="10")
    max_body: Quantity = setting("The largest review, in bytes.", read=read.quantity, default="8Mi")
    log_level: str = setting(
        "`debug` adds owner and run of each model.", read=read.one_of("debug", "info", "warning"), default="info"
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, str]) -> "ServerSettings":
        """Reads the variables that are ours; raises SettingsError for a value or a name that does not do."""
        return read_settings(cls, values, prefix=SERVER_PREFIX)
