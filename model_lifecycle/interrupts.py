"""SIGINT and SIGTERM while changes are made: the first one ends the work, and the caller cleans up."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class InterruptedBySignal(BaseException):
    """The process was asked to end. The text names the signal."""


@contextmanager
def signals_raise() -> Iterator[Callable[[], None]]:
    """Raise InterruptedBySignal in the block at the first signal; later signals do nothing until the block ends.

    Yields a function after which the first signal does nothing either. A signal that the process ignores stays ignored.
    Signals reach the main thread only; in another one the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]

    def ignore() -> None:
        for number in taken:
            signal.signal(number, signal.SIG_IGN)

    def interrupt(number: int, _: FrameType | None) -> None:
        ignore()
        raise InterruptedBySignal(f"interrupted by {signal.Signals(number).name}")

    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield ignore
    finally:
        for number in taken:
            signal.signal(number, handlers[number] or signal.SIG_DFL)
