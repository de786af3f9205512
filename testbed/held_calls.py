"""Calls of a model that last until a test lets them go on: the model connects to a port, and waits until it closes."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from testbed.processes import PATIENCE

VARIABLE: Final = "HELD_BY"  # of a model that is held while it loads


@dataclass(frozen=True, slots=True)
class HeldCalls:
    """The calls that ask for `port`. `waiting` are those that have begun, the oldest first."""

    listener: socket.socket
    waiting: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        number: int = self.listener.getsockname()[1]
        return number

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: str(self.port)}

    def wait_for_call(self) -> None:
        """Wait until one more call has begun. Raises TimeoutError."""
        self.waiting.append(self.listener.accept()[0])

    def let_go(self) -> None:
        """Let the oldest call go on."""
        self.waiting.pop(0).close()

    @property
    def has_new_call(self) -> bool:
        """Return True if a call has begun that was not waited for."""
        return bool(select.select([self.listener], [], [], 0)[0])


@contextmanager
def held_calls() -> Iterator[HeldCalls]:
    """Hold calls for the length of a `with` block; all go on at its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        held = HeldCalls(listener)
        try:
            yield held
        finally:
            while held.waiting:
                held.let_go()
