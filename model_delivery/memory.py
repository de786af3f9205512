"""Memory of this process."""

import ctypes
from typing import Final

M_ARENA_MAX: Final = -8  # of mallopt(3)


def share_arena() -> None:
    """Let all threads allocate from one arena of glibc, so that no thread keeps memory in an arena of its own."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 1)
