"""Sizes as Kubernetes writes them: 20Gi, 500M, 1.5G, 1e9, or plain bytes."""

import re
from typing import Final

from model_delivery.errors import InvalidInputError

QUANTITY: Final = re.compile(
    r"\+?(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?(?P<suffix>[numkKMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?", re.ASCII
)
LONGEST: Final = 64  # a quantity is a few characters
POWERS: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY: Final = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", start=1)}


def bytes_of(text: str) -> int:
    """The number of bytes that a quantity says, rounded up as Kubernetes does. Raises InvalidInputError for anything else, and for 0."""
    found = QUANTITY.fullmatch(text) if len(text) <= LONGEST else None
    digits = (found["whole"] + (found["part"] or "")) if found else ""
    if not found or not digits or found["suffix"] == "K" or not int(digits):
        raise InvalidInputError(f"{text[:LONGEST]!r} is no size; write it like 20Gi, 500M, 1e9 or 1048576")
    decimals = len(found["part"] or "")
    suffix = found["suffix"] or ""
    if suffix in BINARY:
        return _ceiling(int(digits) * BINARY[suffix], 10**decimals)
    power = (int(suffix[1:]) if suffix[1:] else POWERS.get(suffix, 0)) - decimals
    return _ceiling(int(digits) * 10 ** max(power, 0), 10 ** max(-power, 0))


def _ceiling(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
