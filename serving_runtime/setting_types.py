"""Types of the server's settings: functions from text to value, which raise ValueError with the verdict."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.setting_types import HIGHEST_PORT, described, matching, port_number, whole_number
from serving_runtime.options import Capture

ROWS_OF_A_BATCH: Final = 256
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of several requests that are predicted in one call; None if the model decides."""

    rows: int | None

    def most_rows(self, *, allowed: bool) -> int:
        """Return the limit; `allowed` says that the model's example showed merged rows to be right."""
        if self.rows is not None:
            return self.rows
        return ROWS_OF_A_BATCH if allowed else 0


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return the type of a time in seconds, in decimal digits, between both bounds or equal to one."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) or not least <= float(text) <= most:
            raise ValueError(f"it must be a number of seconds from {least:g} to {most:g}")
        return float(text)

    return read


def _read_batch(text: str) -> Batch:
    match text:
        case "auto":
            return Batch(rows=None)
        case "off":
            return Batch(rows=0)
        case _:
            return Batch(rows=whole_number(2, 1_000_000)(text))


def share(text: str) -> float:
    """Return a share above 0, at most 1."""
    if not re.fullmatch(r"0?\.[0-9]{1,9}|1(?:\.0*)?", text) or float(text) == 0:
        raise ValueError("it must be a share of 1, such as 0.1")
    return float(text)


def names(text: str) -> frozenset[str]:
    """Return names that are separated by commas."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def size(text: str) -> int:
    """Return a number of bytes, such as 100M."""
    parts = re.fullmatch(r"([1-9][0-9]{0,11})([KMG]?)", text)
    if parts is None:
        raise ValueError('it must be a number of bytes, or of K, M or G (powers of 1024), such as "100M"')
    return int(parts[1]) * UNITS[parts[2]]


def name(text: str) -> str:
    """Return a name that can stand in a path."""
    if not text.isprintable() or "/" in text:
        raise ValueError("it must be a name without a slash")
    return text


def file(text: str) -> Path | None:
    """Return an absolute path, or None for "none": a model's code may change the working directory.

    An empty text is refused: it comes from a variable that should be set.
    """
    if not text or not text.isprintable():
        raise ValueError("it must be none, or the path of a file")
    return None if text == "none" else Path(text).absolute()


def port_or_off(text: str) -> int | None:
    """Return a port, or None for "off"."""
    return None if text == "off" else port_number(text)


host: Final = matching(re.compile(r"[0-9A-Za-z.:-]+"), 'an address or a name of this machine, such as "127.0.0.1"')
grpc_port: Final = described(port_or_off, f"off, or a port from 1 to {HIGHEST_PORT}")
batch: Final = described(_read_batch, "auto, off, or a number of rows from 2")
capture: Final = described(
    Capture.read, "off, domino, jsonl: and the path of a file, or parquet: and a directory or the URL of one in a store"
)
