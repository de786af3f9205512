"""Comparison of two predictions, as JSON has them, with the places that differ."""

import math
from collections.abc import Iterator
from typing import Any, Final

SHOWN_CHARACTERS: Final = 40  # of a value that differs
MOST_DIFFERENCES: Final = 3  # differences that a person wants to see


def differences(one: Any, other: Any, tolerance: float = 0.0, path: str = "") -> Iterator[str]:
    """Yield the places that differ. Numbers may be apart by `tolerance`, relative to the larger."""
    match one, other:
        case dict(), dict():
            yield from _of_objects(one, other, tolerance, path)
        case list(), list() if len(one) != len(other):
            yield f"{path or 'the prediction'}: {len(one)} values and {len(other)}"
        case list(), list():
            for index, (left, right) in enumerate(zip(one, other, strict=True)):
                yield from differences(left, right, tolerance, f"{path}[{index}]")
        case _ if not _same(one, other, tolerance):
            yield f"{path or 'the prediction'}: {_short(one)} and {_short(other)}"


def _of_objects(one: dict[str, Any], other: dict[str, Any], tolerance: float, path: str) -> Iterator[str]:
    for key in [*one, *(key for key in other if key not in one)]:
        member = f"{path}.{key}" if path else key
        if key in one and key in other:
            yield from differences(one[key], other[key], tolerance, member)
        else:
            yield f"{member}: only in one of them"


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if (
        isinstance(one, bool)
        or isinstance(other, bool)
        or not isinstance(one, int | float)
        or not isinstance(other, int | float)
    ):
        return type(one) is type(other) and bool(one == other)
    return one == other or math.isclose(one, other, rel_tol=tolerance, abs_tol=0.0)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
