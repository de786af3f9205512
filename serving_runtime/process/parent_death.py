"""Ending of a child process together with its parent, so that no child keeps the port of a dead server."""

import ctypes
import os
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def end_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which has forked it, ends in any way.

    Call it in the child.
    """
    prctl = getattr(_libc, "prctl", None)
    if prctl is not None:  # Linux has it
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(0)
