"""Extras of the distribution: what a program says when one of its packages is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DISTRIBUTION: Final = "mlflow-model-api"
OURS: Final = ("model_contract", "model_delivery", "model_lifecycle", "serving_runtime", "tracking_gate", "webhook")


def missing_extra(name: str | None, extra: str) -> str | None:
    """Return the sentence for a module `name` that is not installed; None if it is one of this project."""
    package = (name or "").partition(".")[0]
    if not package or package in OURS:
        return None
    return (
        f"the package {package} is not installed; install the extra {extra}: "
        f"pip install '{DISTRIBUTION}[{extra}]', or pip install '.[{extra}]' in a checkout"
    )


@contextmanager
def extra_of_program(extra: str) -> Iterator[None]:
    """End the program with one sentence if an import in the block finds no package. Raises SystemExit."""
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = missing_extra(error.name, extra)
        if sentence is None:
            raise
        sys.exit(f"error: {sentence}")


@contextmanager
def extra_of_import(extra: str) -> Iterator[None]:
    """Say the same in the error of an import. Raises ModuleNotFoundError."""
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = missing_extra(error.name, extra)
        if sentence is None:
            raise
        raise ModuleNotFoundError(sentence, name=error.name) from None
