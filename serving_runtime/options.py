"""Values of the options that the server, the commands and the protocols share; this module imports nothing heavy."""

from dataclasses import dataclass
from enum import StrEnum


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


class CaptureKind(StrEnum):
    OFF = "off"
    DOMINO = "domino"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The destination of recorded predictions: `path` is that of JSON lines."""

    kind: CaptureKind
    path: str = ""

    @classmethod
    def read(cls, text: str) -> "Capture":
        """Raises ValueError."""
        kind, colon, path = text.partition(":")
        if bool(colon) != (kind == CaptureKind.JSONL) or (colon and not path):
            raise ValueError(text)
        return cls(kind=CaptureKind(kind), path=path)
