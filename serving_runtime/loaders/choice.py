"""Who loads a model: light to import, as settings are."""

from enum import StrEnum


class Loader(StrEnum):
    """`auto`: native where that is known to give the same, else MLflow's."""

    AUTO = "auto"
    MLFLOW = "mlflow"
    NATIVE = "native"
