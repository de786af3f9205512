"""The limit on the decompressed size of a body, so that a small body takes little time and memory."""

from typing import Final

# zlib compresses 1,000 equal bytes to one, and the time of reading depends on the decompressed size.
MOST_GROWTH: Final = 100
FREE_GROWTH: Final = 1 << 20  # bytes
CELL: Final = 8  # bytes of a number in a table


def decompressed_limit(compressed: int) -> int:
    """Return the largest decompressed size of a body that has `compressed` bytes."""
    return FREE_GROWTH + MOST_GROWTH * compressed
