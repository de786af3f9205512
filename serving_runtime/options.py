"""Values of the options that the server, the commands and the protocols share; this module imports nothing heavy."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class Coerce(StrEnum):
    """SAFE refuses what would change the value, MLFLOW casts as MLflow's scoring server does."""

    SAFE = "safe"
    MLFLOW = "mlflow"


class Loader(StrEnum):
    """AUTO loads natively if that is known to predict the same, else with MLflow."""

    AUTO = "auto"
    MLFLOW = "mlflow"
    NATIVE = "native"


class Nan(StrEnum):
    """NaN and infinity of a prediction in JSON, which has neither: null, their names, or an error."""

    NULL = "null"
    STRING = "string"
    ERROR = "error"


STORES: Final = ("s3", "gs", "az")  # schemes of the object stores that the extra `tables` reads and writes


class CaptureKind(StrEnum):
    OFF = "off"
    DOMINO = "domino"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The destination of recorded predictions: `path` is that of JSON lines, or the directory of Parquet files.

    `path` is absolute, or a URL.
    """

    kind: CaptureKind
    path: str = ""

    @classmethod
    def read(cls, text: str) -> "Capture":
        """Raises ValueError."""
        kind, colon, path = text.partition(":")
        if bool(colon) != (kind in {CaptureKind.JSONL, CaptureKind.PARQUET}) or (colon and not path):
            raise ValueError(text)
        is_local = path and "://" not in path
        return cls(kind=CaptureKind(kind), path=str(Path(path).absolute()) if is_local else path)
