"""OpenTelemetry's own collector, with the receiver and the exporter that a first look needs."""

from pathlib import Path
from typing import Final

from testbed.go_programs import program

MODULE: Final = Path(__file__).parent / "otelcol"


def collector() -> Path:
    """Return the program, compiled if it is missing, which takes some minutes."""
    return program(MODULE, "mlflow-model-api/testbed/otelcol")
