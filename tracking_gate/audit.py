"""The record of what was decided: lines of JSON that are only ever added, without tokens, bodies or headers."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

STANDARD_OUTPUT: Final = "-"


class AuditError(OSError):
    """A line could not be written; what it is about must not happen."""


class AuditLog:
    """A file, or standard output. Lines carry a number, so that a missing one is seen."""

    def __init__(self, target: str) -> None:
        """Raises OSError where the file cannot be opened."""
        self._file = None if target == STANDARD_OUTPUT else os.open(Path(target), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._number = 0

    def write(self, *, durable: bool = False, **fields: Any) -> None:
        """Raises AuditError. `durable` waits until the line is on the disk."""
        self._number += 1
        entry = {"ts": datetime.now(UTC).isoformat(timespec="milliseconds"), "seq": self._number, **fields}
        line = json.dumps({key: value for key, value in entry.items() if value is not None}, ensure_ascii=False).encode("utf-8", "replace")
        try:
            os.write(sys.stdout.fileno() if self._file is None else self._file, line + b"\n")
            if durable and self._file is not None:
                os.fsync(self._file)
        except OSError as error:
            raise AuditError("the audit log cannot be written") from error
