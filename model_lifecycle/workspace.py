"""What a workspace of Domino says of itself, by its variables."""

from collections.abc import Mapping
from typing import Final

from model_lifecycle.staging.preflight import Order

PROJECT: Final = "DOMINO_PROJECT_ID"
ENVIRONMENT: Final = "DOMINO_ENVIRONMENT_ID"
USER: Final = "DOMINO_STARTING_USERNAME"


def order_of(  # noqa: PLR0913  what a caller may say
    environ: Mapping[str, str],
    *,
    name: str,
    version: str,
    environment_id: str | None,
    owner: str | None,
    alias_only: bool,
) -> Order:
    """What the caller says > what the workspace says."""
    return Order(
        name=name,
        version=version,
        environment_id=environment_id or environ.get(ENVIRONMENT, ""),
        project_id=environ.get(PROJECT, "").lower(),
        owner=owner or "",
        user=environ.get(USER, ""),
        alias_only=alias_only,
    )
