"""Runs a command, and waits for the processes that it leaves behind: the kernel counts no processor time of others.

A test that kills a server's group kills the server's workers, whose parent cannot wait for them any more.
"""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)


def adopt() -> None:
    """Become the parent of the processes that descendants of this one leave."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> int:
    """Return the exit code of the command."""
    adopt()
    command = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends by it, and says what it has until then
    while True:
        process, status = os.wait()
        if process == command:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
