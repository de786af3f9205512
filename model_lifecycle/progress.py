"""The progress of a staging for a person: a line for each step, and one that changes while Domino builds."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TextIO

LOG_INTERVAL: Final = 30.0  # seconds between two lines of a log while nothing changes
WIDTH: Final = 79  # or less, on a narrow terminal


class Progress(Protocol):
    def done(self, step: str, text: str) -> None:
        """Report that a step is done."""

    def waiting(self, text: str, seconds: float) -> None:
        """Report a wait: `text` is Domino's word for the state, `seconds` the time since the start."""


@dataclass(slots=True)
class ProgressLines:
    """Lines of text.

    A terminal's line is overwritten during a wait; a log gets a line per change and per LOG_INTERVAL seconds. If the
    reader of the lines has gone, such as `| head`, the work goes on without them.
    """

    stream: TextIO | None = field(default_factory=lambda: sys.stderr)  # None if the shell has closed it
    _open: bool = False
    _last: tuple[str, float] = ("", 0.0)

    def done(self, step: str, text: str) -> None:
        self._close()
        self._write(f"{step:<10} {text}\n")

    def waiting(self, text: str, seconds: float) -> None:
        line = f"{'waiting':<10} {text}, {seconds:.0f} s"
        if self.stream and self.stream.isatty():
            width = self._width()
            self._write("\r" + line[:width].ljust(width))
            self._open = True
        elif text != self._last[0] or seconds - self._last[1] >= LOG_INTERVAL:
            self._write(line + "\n")
            self._last = (text, seconds)

    def _close(self) -> None:
        if self._open:
            self._write("\r" + " " * self._width() + "\r")
            self._open = False
        self._last = ("", 0.0)

    def _width(self) -> int:
        """Return the characters of the line that is overwritten: one that wraps would fill the terminal."""
        with suppress(OSError):
            columns = os.get_terminal_size(self.stream.fileno()).columns if self.stream else 0
            return min(WIDTH, columns - 1) if columns > 1 else WIDTH
        return WIDTH

    def _write(self, text: str) -> None:
        with suppress(OSError):
            if self.stream:
                self.stream.write(text)
                self.stream.flush()
