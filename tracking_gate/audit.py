"""The audit log: a file of JSON lines that is only appended to. `gate.recorder` decides what a line holds."""

import asyncio
import json
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from model_contract.tokens import without_tokens

STANDARD_OUTPUT: Final = "-"
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT  # read once, to find an incomplete last line
MAX_TEXT: Final = 512  # characters of one value: a path of an artifact with its run and experiment has some 150
MAX_LIST: Final = 100  # items
MAX_CALLERS: Final = 1000  # whose refusals are counted; the one that was refused longest ago goes first
MAX_LINE: Final = 64 * 1024  # bytes that are read back to find where the last line begins
# Characters at which some readers end a line.
SEPARATORS: Final = {ord(separator): f"\\u{ord(separator):04x}" for separator in "\x85\u2028\u2029"}


class AuditError(OSError):
    """A line could not be written, so the change that it records must not be made."""


class AuditLog:
    """A file, or standard output. Lines are numbered, so that a missing line is noticed.

    One thread writes, so that a slow disk does not stop the event loop. A line that cannot be written whole is removed.
    """

    def __init__(self, target: str) -> None:
        """Open the file. Raises OSError."""
        self._file = sys.stdout.fileno() if target == STANDARD_OUTPUT else os.open(Path(target), FLAGS, 0o640)
        self._regular = target != STANDARD_OUTPUT and stat.S_ISREG(os.fstat(self._file).st_mode)
        self._number = 0
        self._torn = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="audit")
        if self._regular:
            self._repair_last_line()

    async def write(self, *, durable: bool = False, **fields: Any) -> None:
        """Write a line, and finish it even if cancelled; `durable` waits until it is on the disk. Raises AuditError."""
        writing = asyncio.get_running_loop().run_in_executor(self._writer, self._append, fields, durable)
        await asyncio.shield(writing)

    def close(self) -> None:
        """Wait until all lines are written."""
        self._writer.shutdown()

    def _append(self, fields: Mapping[str, Any], durable: bool) -> None:
        self._number += 1
        line = line_of({"ts": _now(), "seq": self._number, **fields})
        size = os.fstat(self._file).st_size if self._regular else 0
        try:
            write_whole(self._file, b"\n" + line if self._torn else line)
            self._torn = False
            if durable and self._regular:
                os.fsync(self._file)
        except OSError as error:
            self._number -= 1
            self._truncate(size)
            raise AuditError("the audit log cannot be written") from error

    def _truncate(self, size: int) -> None:
        """Truncate the file to its size before the line; if that fails, begin the next line with a line break."""
        self._torn = True
        if self._regular:
            with suppress(OSError):
                os.ftruncate(self._file, size)
                self._torn = False

    def _repair_last_line(self) -> None:
        """Replace an incomplete last line, left by a crash, by a whole line that holds its text. Raises OSError."""
        size = os.fstat(self._file).st_size
        begin = max(0, size - MAX_LINE)
        tail = os.pread(self._file, size - begin, begin)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return
        if len(torn) == MAX_LINE:
            self._torn = True  # no line of the gate is that long: leave it, and begin a new line
            return
        line = line_of({"ts": _now(), "decision": "torn", "bytes": len(torn), "text": torn.decode("utf-8", "replace")})
        os.ftruncate(self._file, size - len(torn))
        try:
            write_whole(self._file, line)
        except OSError:
            # Without space on the disk, the incomplete line stays as it was.
            with suppress(OSError):
                os.ftruncate(self._file, size - len(torn))
                write_whole(self._file, torn)
            self._torn = True


def write_whole(file: int, line: bytes) -> None:
    """Write all bytes: a pipe, or a disk that becomes full, takes only a part at once. Raises OSError."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(file, rest) :]


def line_of(entry: Mapping[str, Any]) -> bytes:
    """Return a line of JSON with its line break, of bounded length, without fields that are None."""
    kept = {key: bounded(value) for key, value in entry.items() if value is not None}
    return (json.dumps(kept, ensure_ascii=False).translate(SEPARATORS) + "\n").encode("utf-8", "replace")


def bounded(value: Any) -> Any:
    """Return a value cut to the bounds, with its full length, and without a token that a client wrote there."""
    if isinstance(value, str):
        more = f"... ({len(value)} characters)" if len(value) > MAX_TEXT else ""
        return without_tokens(value)[:MAX_TEXT] + more
    if isinstance(value, list):
        rest = [f"... ({len(value)} items)"] if len(value) > MAX_LIST else []
        return [*map(bounded, value[:MAX_LIST]), *rest]
    if isinstance(value, dict):
        return {key: bounded(item) for key, item in value.items()}
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RefusalSampler:
    """Selects the refusals that get an audit line: for each caller a few at once, then one every few seconds."""

    def __init__(self, clock: Callable[[], float], *, burst: int, seconds: float) -> None:
        """Allow `burst` lines at once, then one every `seconds`."""
        self._clock = clock
        self._burst = burst
        self._seconds = seconds
        # For each caller: lines left, the time when so many were left, and refusals without a line since the last line.
        self._states: OrderedDict[Hashable, tuple[float, float, int]] = OrderedDict()

    def take(self, caller: Hashable) -> int | None:
        """Return the number of refusals without a line since the last line, None if this one gets no line."""
        now = self._clock()
        left, then, missed = self._states.get(caller, (float(self._burst), now, 0))
        left = min(float(self._burst), left + (now - then) / self._seconds)
        takes = left >= 1
        self._states[caller] = (left - 1, now, 0) if takes else (left, now, missed + 1)
        self._states.move_to_end(caller)
        while len(self._states) > MAX_CALLERS:
            self._states.popitem(last=False)
        return missed if takes else None
