"""Kinds of values that a setting of the server may have: how each is read from text, and how a right
one is described.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from serving_runtime.options import Capture

ROWS_OF_A_BATCH: Final = 256
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`read` raises ValueError; `expected` goes into the sentence that then says what is wrong."""

    read: Callable[[str], Any]
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How many rows of several requests go together; None where that is for the model to show."""

    rows: int | None

    def most_rows(self, *, allowed: bool) -> int:
        if self.rows is not None:
            return self.rows
        return ROWS_OF_A_BATCH if allowed else 0


def _whole(text: str, *, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(text)
    return int(text)


def whole_number(least: int, most: int) -> Kind:
    return Kind(
        read=lambda text: _whole(text, least=least, most=most), expected=f"a whole number from {least} to {most}"
    )


def seconds(least: float, most: float) -> Kind:
    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) or not least <= float(text) <= most:
            raise ValueError(text)
        return float(text)

    return Kind(read=read, expected=f"a number of seconds from {least:g} to {most:g}")


def _read_batch(text: str) -> Batch:
    match text:
        case "auto":
            return Batch(rows=None)
        case "off":
            return Batch(rows=0)
        case _:
            return Batch(rows=_whole(text, least=2, most=1_000_000))


def _read_share(text: str) -> float:
    if not re.fullmatch(r"0?\.[0-9]{1,9}|1(?:\.0*)?", text) or float(text) == 0:
        raise ValueError(text)
    return float(text)


def _read_switch(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


def _read_names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _read_bytes(text: str) -> int:
    parts = re.fullmatch(r"([1-9][0-9]{0,11})([KMG]?)", text)
    if parts is None:
        raise ValueError(text)
    return int(parts[1]) * UNITS[parts[2]]


def _read_host(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.:-]+", text):
        raise ValueError(text)
    return text


def _read_name(text: str) -> str:
    if not text.isprintable() or "/" in text:
        raise ValueError(text)
    return text


def _read_file(text: str) -> Path | None:
    """An empty one is refused: it comes from a variable that somebody meant to set."""
    if not text or not text.isprintable():
        raise ValueError(text)
    return None if text == "none" else Path(text)


def one_of(choices: type[StrEnum]) -> Kind:
    return Kind(read=choices, expected=f"one of {', '.join(choices)}")


HOST: Final = Kind(read=_read_host, expected='an address or a name of this machine, such as "127.0.0.1"')
FILE: Final = Kind(read=_read_file, expected="none, or the path of a file")
NAME: Final = Kind(read=_read_name, expected="a name without a slash")
BYTES: Final = Kind(
    read=_read_bytes, expected='a number of bytes, of which K, M and G are the powers of 1024, such as "100M"'
)

BATCH: Final = Kind(read=_read_batch, expected="auto, off, or a number of rows from 2")
CAPTURE: Final = Kind(read=Capture.read, expected="off, domino, or jsonl: and the path of a file")
SHARE: Final = Kind(read=_read_share, expected="a share of 1, such as 0.1")
SWITCH: Final = Kind(read=_read_switch, expected="true or false")
NAMES: Final = Kind(read=_read_names, expected="names with commas between them")
