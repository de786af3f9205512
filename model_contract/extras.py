"""Extras of the distribution: the error of a program or an import if a package of its extra is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DISTRIBUTION: Final = "mlflow-model-api"
OWN_PACKAGES: Final = (
    "model_contract",
    "model_delivery",
    "model_lifecycle",
    "serving_runtime",
    "tracking_gate",
    "webhook",
)


def missing_extra(name: str | None, extra: str) -> str | None:
    """Return the sentence for a module `name` that is not installed; None if it is one of this project."""
    package = (name or "").partition(".")[0]
    if not package or package in OWN_PACKAGES:
        return None
    return (
        f"the package {package} is not installed; install the extra {extra}: "
        f"pip install '.[{extra}]' in a checkout, or pip install '{DISTRIBUTION}[{extra}]' from your package index"
    )


@contextmanager
def extra_of_import(extra: str) -> Iterator[None]:
    """Name the extra in the error of an import that finds no package. Raises ModuleNotFoundError."""
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = missing_extra(error.name, extra)
        if sentence is None:
            raise
        raise ModuleNotFoundError(sentence, name=error.name) from None


@contextmanager
def extra_of_program(extra: str) -> Iterator[None]:
    """End the program with one sentence if an import in the block finds no package. Raises SystemExit."""
    try:
        with extra_of_import(extra):
            yield
    except ModuleNotFoundError as error:
        if missing_extra(error.name, extra) is None:
            raise
        sys.exit(f"error: {error}")
