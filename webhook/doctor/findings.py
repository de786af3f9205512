"""The result of one check: a finding and its remedy."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The result of a check. `odd` works but should be changed; `unknown` could not be read."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the table; `remedy` is empty if there is nothing to do."""

    check: str
    health: Health
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        return {"check": self.check, "health": self.health.value, "found": self.found, "remedy": self.remedy}


def good(check: str, found: str) -> Finding:
    return Finding(check=check, health=Health.GOOD, found=found)


def odd(check: str, found: str, remedy: str) -> Finding:
    return Finding(check=check, health=Health.ODD, found=found, remedy=remedy)


def bad(check: str, found: str, remedy: str) -> Finding:
    return Finding(check=check, health=Health.BAD, found=found, remedy=remedy)
