"""The address of MLflow: MLFLOW_TRACKING_URI, read strictly, because the token is sent there."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from model_contract.allowed_hosts import DEFAULT_PORTS
from model_contract.names import TRACKING_URI
from model_delivery.errors import InvalidInputError

HOST: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f:.]{2,45}", re.ASCII)
PATH: Final = re.compile(r"[A-Za-z0-9_.~%/-]*")
EXAMPLE: Final = "http://mlflow.mlflow-efs:5000"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingUri:
    """Scheme, host, port and the path below which MLflow's API lies (no slash at its end)."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_tracking_uri(value: str | None) -> TrackingUri:
    """Return the address without user and password, and without white space at its ends.

    Raises InvalidInputError, which never shows the value.
    """
    value = (value or "").strip()
    if not value:
        raise InvalidInputError(f"{TRACKING_URI} is not set; set it to the address of MLflow, such as {EXAMPLE}")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise InvalidInputError(f"{TRACKING_URI} is not a URI; it must look like {EXAMPLE}") from None
    if fault := _fault(value, parts):
        raise InvalidInputError(f"{TRACKING_URI} {fault}; it must look like {EXAMPLE}")
    host = parts.hostname or ""
    return TrackingUri(
        scheme=parts.scheme, host=host, port=port or DEFAULT_PORTS[parts.scheme], path=parts.path.rstrip("/")
    )


def _fault(value: str, parts: SplitResult) -> str | None:
    if parts.scheme not in DEFAULT_PORTS:
        return "is neither http nor https"
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        return "holds a query or a fragment"
    if not HOST.fullmatch(parts.hostname or ""):
        return "names no host"
    if not value.isascii() or not PATH.fullmatch(parts.path):
        return "holds characters that an address cannot have"
    return None
