"""Kubernetes quantities: `250m`, `512Mi`, `1e9`. The webhook writes them into pods, and the delivery reads one."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

WHOLE: Final = 10**9  # billionths: Kubernetes keeps no smaller part
THOUSANDTH: Final = WHOLE // 1000
BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
POWERS_OF_TEN: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# The digits are bounded: a quantity is a few characters, and a number of a million digits takes seconds.
PATTERN: Final = re.compile(
    r"\+?(?=\.?[0-9])([0-9]{0,19})(?:\.([0-9]{0,9}))?(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,2}))?", re.ASCII
)


class QuantityError(ValueError):
    """A text is not a quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """An amount in billionths, and its text. Quantities are compared by `amount`."""

    text: str
    amount: int

    def __hash__(self) -> int:
        return hash(self.text)  # the amount follows from it

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "Quantity":
        """Return the quantity. Raises QuantityError if `text` is not one, or a negative one."""
        if not (match := PATTERN.fullmatch(text)):
            raise QuantityError('it must be a quantity, such as "500m", "512Mi" or "2Gi"')
        whole, decimals, binary, decimal, exponent = match.groups(default="")
        tens = (POWERS_OF_TEN[decimal] if decimal else int(exponent or 0)) - len(decimals)
        amount = int(whole + decimals) * BINARY.get(binary, 1) * WHOLE
        return cls(text=text, amount=amount * 10**tens if tens > 0 else _divided(amount, 10**-tens))

    @property
    def bytes(self) -> int:
        """The amount as a whole number, rounded up as Kubernetes does."""
        return _divided(self.amount, WHOLE)

    @classmethod
    def of(cls, amount: int) -> "Quantity":
        """Return the billionths with a short text: a binary unit if one divides them, thousandths if not whole."""
        whole, rest = divmod(amount, WHOLE)
        if rest:
            return cls(text=f"{_divided(amount, THOUSANDTH)}m", amount=amount)
        unit = next((unit for unit, factor in reversed(BINARY.items()) if whole and not whole % factor), "")
        return cls(text=f"{whole // BINARY.get(unit, 1)}{unit}", amount=amount)


@lru_cache(maxsize=1024)
def smallest(*quantities: Quantity | None) -> Quantity:
    """Return the least quantity, without regard to None; of equal ones the first."""
    found = [quantity for quantity in quantities if quantity]
    return found[0] if len(found) == 1 else min(found, key=lambda quantity: quantity.amount)


def _divided(amount: int, divisor: int) -> int:
    """Return the quotient, rounded up as Kubernetes does."""
    return -(-amount // divisor)
