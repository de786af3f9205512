"""The request to stage a version, from the caller and from the variables of a workspace of Domino."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from model_lifecycle.errors import InvalidError

PROJECT: Final = "DOMINO_PROJECT_ID"
ENVIRONMENT: Final = "DOMINO_ENVIRONMENT_ID"
USER: Final = "DOMINO_STARTING_USERNAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequest:
    """A version to stage. Texts are empty if the caller names none: tags give `owner` and `project_id` then."""

    name: str
    version: str
    environment_id: str
    project_id: str = ""
    owner: str = ""
    user: str = ""
    alias_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """Options of a staging. `wait` is in seconds; `api` is Domino's API by name, None for the first that answers.

    Raises InvalidError.
    """

    wait: float = 900
    calls: bool = True
    api: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.wait < math.inf:
            raise InvalidError(f"the wait is {self.wait}; it must be a number of seconds, 0 or more")


def request_of(  # noqa: PLR0913  what a caller may say
    environ: Mapping[str, str],
    *,
    name: str,
    version: str,
    environment_id: str | None,
    owner: str | None,
    alias_only: bool,
) -> StageRequest:
    """Return the request: the caller's values > those of the workspace."""
    return StageRequest(
        name=name,
        version=version,
        environment_id=environment_id or environ.get(ENVIRONMENT, ""),
        project_id=environ.get(PROJECT, "").lower(),
        owner=owner or "",
        user=environ.get(USER, ""),
        alias_only=alias_only,
    )
