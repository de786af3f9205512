"""The way of a registered version to Staging and Production. In a notebook: `from model_lifecycle import stage`.

The package may import `model_contract`, and of `model_delivery` the way from a version to its files. It never imports
another app. `cli.py` is the entry; the layers below it stand in `pyproject.toml`, and import-linter holds them.
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
