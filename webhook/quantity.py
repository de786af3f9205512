"""Kubernetes quantities: `250m`, `512Mi`, `1e9`."""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Final

BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
DECIMAL: Final = {"n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15", "E": "1e18"}
SUFFIXES: Final = {suffix: Decimal(factor) for suffix, factor in DECIMAL.items()} | {
    suffix: Decimal(factor) for suffix, factor in BINARY.items()
}
# The digits are bounded: a quantity of a pod is a few characters, and a number of a million digits takes seconds.
PATTERN: Final = re.compile(r"\+?([0-9]{1,19}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?", re.ASCII)


class QuantityError(ValueError):
    """What stands where a quantity should stand is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """An amount, and how it was written. Two are compared by `amount`."""

    text: str
    amount: Decimal

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "Quantity":
        """Raises QuantityError where `text` is no quantity, or a negative one."""
        if not (match := PATTERN.fullmatch(text)):
            raise QuantityError('it must be a quantity, such as "500m", "512Mi" or "2Gi"')
        number, suffix, exponent = match.groups()
        return cls(text=text, amount=Decimal(number) * SUFFIXES[suffix or ""] * Decimal(f"1e{exponent or 0}"))

    @classmethod
    def of(cls, amount: Decimal) -> "Quantity":
        """The shortest exact way to write an amount; thousandths where it is not whole."""
        if amount != amount.to_integral_value():
            return cls(text=f"{(amount * 1000).to_integral_value(ROUND_CEILING)}m", amount=amount)
        suffix = next((unit for unit, factor in reversed(BINARY.items()) if amount and amount % factor == 0), "")
        return cls(text=f"{amount / SUFFIXES[suffix]:.0f}{suffix}", amount=amount)


def smallest(*quantities: Quantity | None) -> Quantity:
    """The least of those that are there; the first of equal ones, so that it is written as its author wrote it."""
    return min((quantity for quantity in quantities if quantity), key=lambda quantity: quantity.amount)
