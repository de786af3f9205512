"""The end of a command by Ctrl-C."""

import signal
import sys
from contextlib import suppress


def end_interrupted() -> int:
    """Write one line, and end as SIGINT ends a process: a shell that runs the command in a loop then ends the loop.

    Return the exit code for the first process of a container, which SIGINT does not end.
    """
    if sys.stderr:
        with suppress(OSError):  # a reader that Ctrl-C has ended, too
            sys.stderr.write("interrupted\n")
            sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    return 128 + signal.SIGINT
