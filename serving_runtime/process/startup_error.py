"""The reason why a worker could not start, sent to its supervisor through a pipe."""

import os
from typing import Final

LONGEST: Final = 4000  # bytes; so many go through a pipe whole


class StartupErrorPipe:
    """Made before the fork. Workers fail for the same reason at the same moment: the first reason is read."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def report(self, text: str) -> None:
        os.write(self._write, text.replace("\n", " ").encode()[:LONGEST] + b"\n")

    def first(self) -> str | None:
        try:
            return os.read(self._read, LONGEST + 1).decode(errors="replace").splitlines()[0]
        except BlockingIOError:
            return None
