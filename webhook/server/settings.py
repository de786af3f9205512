"""Settings of the webhook's server: addresses, certificate, limits and times."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.quantity import Quantity
from model_contract.setting_types import one_of, port_number, whole_number
from model_contract.settings import read_settings, setting
from webhook import setting_types as types
from webhook.settings import SERVER_PREFIX, refuse_unknown

TLS_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def _path(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError("it must be an absolute path")
    return Path(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Each field is set by a variable: `MODEL_API_WEBHOOK_SERVER_` and its name in capitals. Times are in seconds."""

    host: str = setting("The address to listen on.", read=str, default="0.0.0.0")  # noqa: S104  a pod's
    port: int = setting("The port for reviews, over TLS.", read=port_number, default="9443")
    metrics_port: int = setting("The port for metrics, without TLS.", read=port_number, default="8080")
    certificates: str = setting(
        "`files` reads a certificate and key that something else renews; `self-managed` issues, renews and"
        " registers them, and writes them there.",
        read=one_of(("files", "self-managed")),
        default="files",
    )
    certificate_file: Path = setting(
        "The certificate with its chain, PEM; it is read again when it changes.",
        read=_path,
        default="/run/model-api-webhook/tls/tls.crt",
    )
    key_file: Path = setting(
        "The private key of that certificate, PEM; it may be the same file.",
        read=_path,
        default="/run/model-api-webhook/tls/tls.key",
        secret=True,
    )
    tls_minimum: str = setting(
        "The oldest version of TLS that is accepted.", read=one_of(tuple(TLS_VERSIONS)), default="1.2"
    )
    workers: int = setting("Processes that answer reviews.", read=whole_number(1, 64), default="2")
    threads: int = setting(
        "Large reviews, above 128 KiB, that are in memory at a time, over all processes.",
        read=whole_number(1, 256),
        default="16",
    )
    # The API server keeps idle connections for 90 s: the side that closes first must not be the one that is being
    # asked.
    keepalive: int = setting("Seconds for which an idle connection is kept.", read=whole_number(1, 3600), default="95")
    graceful_timeout: int = setting(
        "Seconds that a stop waits for reviews under way.", read=whole_number(1, 600), default="20"
    )
    read_timeout: int = setting("Seconds in which a request must arrive.", read=whole_number(1, 600), default="10")
    max_body: Quantity = setting("The largest review, in bytes.", read=types.quantity, default="8Mi")
    log_level: str = setting(
        "`debug` adds owner and run of each model.", read=one_of(("debug", "info", "warning")), default="info"
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, str]) -> "ServerSettings":
        """Return the settings of these variables. Raises SettingError for a wrong value or a misspelt variable."""
        refuse_unknown(cls, values, prefix=SERVER_PREFIX)
        return read_settings(cls, values, prefix=SERVER_PREFIX)
