"""Types of settings that several applications use.

A type is a function from text to value. It raises ValueError with the verdict, a sentence such as "it must be true".
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

Value = TypeVar("Value")
HIGHEST_PORT: Final = 65535
DIGITS: Final = re.compile(r"[0-9]{1,18}")  # a longer number lies above every bound


def described(read: Callable[[str], Value], expected: str) -> Callable[[str], Value]:
    """Return `read` with a verdict that says what is expected, such as "a name without a slash"."""

    def described_read(text: str) -> Value:
        try:
            return read(text)
        except ValueError:
            raise ValueError(f"it must be {expected}") from None

    return described_read


def optional(read: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """Return `read` for a setting that may be empty, which is None."""
    return lambda text: read(text) if text else None


def one_of(choices: type[StrEnum] | tuple[str, ...]) -> Callable[[str], Any]:
    """Return the type of a setting that is a member of an enumeration, or one of these words."""

    def read(text: str) -> str:
        if isinstance(choices, tuple):
            return choices[choices.index(text)]
        return choices(text)

    return described(read, f"one of {', '.join(choices)}")


def matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    """Return the type of a text that matches the pattern from its beginning to its end."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"it must be {expected}")
        return text

    return read


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return the type of a number in decimal digits, between both bounds or equal to one."""
    bounds = f"from {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        number = int(text) if DIGITS.fullmatch(text) else None
        if number is None or number < least or (most is not None and number > most):
            raise ValueError(f"it must be a whole number {bounds}")
        return number

    return read


def boolean(text: str) -> bool:
    """Return True for "true" and False for "false"; other words raise ValueError."""
    if text not in {"true", "false"}:
        raise ValueError('it must be "true" or "false"')
    return text == "true"


port_number: Final = described(whole_number(1, HIGHEST_PORT), f"a port from 1 to {HIGHEST_PORT}")
