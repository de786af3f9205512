"""Log lines on the standard error: a constant message, then its values as `name=value`."""

import json
import re
import sys
from contextlib import suppress
from typing import Final

PLAIN: Final = re.compile(r"[\w./:+@%-]+", re.ASCII)


def log(message: str, /, **fields: object) -> None:
    """Write a line to the standard error."""
    write(line(message, **fields))


def write(text: str) -> None:
    """Write a line to the standard error. The work goes on if its reader has gone, or the shell has closed it."""
    if sys.stderr:
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def line(message: str, /, **fields: object) -> str:
    """Return one line: values that are not plain words are quoted and escaped."""
    return " ".join([message, *(f"{name}={_value(str(value))}" for name, value in fields.items())])


def _value(text: str) -> str:
    return text if PLAIN.fullmatch(text) else json.dumps(text)
