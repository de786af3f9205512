"""What becomes of a value whose type is not the one that the model takes."""

from enum import StrEnum


class Coerce(StrEnum):
    """SAFE refuses what would change the value, MLFLOW casts as MLflow's scoring server does."""

    SAFE = "safe"
    MLFLOW = "mlflow"
