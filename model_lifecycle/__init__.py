"""Moves of a registered version to Staging and Production. In a notebook: `from model_lifecycle import stage`.

The package may import `model_contract`, and the parts of `model_delivery` that find a version's files. It never imports
another app. `cli.py` is the entry; `pyproject.toml` lists the layers below it, and import-linter checks them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_lifecycle.notebook import stage as stage

__all__ = ["stage"]


def __getattr__(name: str) -> Any:
    """Load `stage` when it is first used: a caller that needs only an error class does not wait for an HTTP client."""
    if name != "stage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from model_lifecycle.notebook import stage  # noqa: PLC0415

    return stage
