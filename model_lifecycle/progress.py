"""The progress of a staging for a person: a line for each step, and one that changes while Domino builds."""

import sys
from dataclasses import dataclass, field
from typing import Final, Protocol, TextIO

LOG_INTERVAL: Final = 30.0  # seconds between two lines of a log while nothing changes
WIDTH: Final = 79


class Progress(Protocol):
    def done(self, step: str, text: str) -> None:
        """Report that a step is done."""

    def waiting(self, text: str, seconds: float) -> None:
        """Report a wait: `text` is Domino's word for the state, `seconds` the time since the start."""


@dataclass(slots=True)
class ProgressLines:
    """Lines of text.

    A terminal's line is overwritten during a wait; a log gets a line per change and per LOG_INTERVAL seconds.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _open: bool = False
    _last: tuple[str, float] = ("", 0.0)

    def done(self, step: str, text: str) -> None:
        self._close()
        self.stream.write(f"{step:<10} {text}\n")
        self.stream.flush()

    def waiting(self, text: str, seconds: float) -> None:
        line = f"{'waiting':<10} {text}, {seconds:.0f} s"
        if self.stream.isatty():
            self.stream.write("\r" + line[:WIDTH].ljust(WIDTH))
            self._open = True
        elif text != self._last[0] or seconds - self._last[1] >= LOG_INTERVAL:
            self.stream.write(line + "\n")
            self._last = (text, seconds)
        self.stream.flush()

    def _close(self) -> None:
        if self._open:
            self.stream.write("\r" + " " * WIDTH + "\r")
            self._open = False
        self._last = ("", 0.0)
