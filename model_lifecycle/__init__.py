"""From a registered version to Staging and Production. In a notebook: `from model_lifecycle import stage`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_lifecycle.notebook import stage as stage

__all__ = ["stage"]


def __getattr__(name: str) -> Any:
    """Loaded when it is first taken: who only wants an error class does not wait for an HTTP client."""
    if name != "stage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from model_lifecycle.notebook import stage  # noqa: PLC0415

    return stage
