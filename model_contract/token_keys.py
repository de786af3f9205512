"""Keys of the Secret that holds the tokens of every project: `<project id>.<suffix>`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from model_contract.names import PROJECT_ID_PATTERN
from model_contract.tokens import Purpose

# The promotion token keeps the key that clients of domino-mlflow-client know. `prev` is the one before a rotation,
# while its grace lasts.
SUFFIXES: Final[Mapping[Purpose, str]] = {Purpose.PROMOTE: "apikey", Purpose.PULL: "pull"}
PREVIOUS: Final = "prev"
META: Final = "meta"
KEY: Final = re.compile(rf"({PROJECT_ID_PATTERN})\.(apikey|pull)(\.prev)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """A key of the Secret: the project and the purpose of its token."""

    project_id: str
    purpose: Purpose
    previous: bool = False

    def __str__(self) -> str:
        return f"{self.project_id}.{SUFFIXES[self.purpose]}" + (f".{PREVIOUS}" if self.previous else "")


def parse_key(text: str) -> TokenKey | None:
    """Return the parsed key; None if it holds no token. The project's id may have capital letters."""
    found = KEY.fullmatch(text.lower())
    if not found:
        return None
    project_id, suffix, previous = found.groups()
    purpose = next(purpose for purpose, known in SUFFIXES.items() if known == suffix)
    return TokenKey(project_id=project_id, purpose=purpose, previous=previous is not None)


def meta_key(project_id: str) -> str:
    """Return the key of the JSON about a project: its owner, and the times of each of its tokens."""
    return f"{project_id}.{META}"
