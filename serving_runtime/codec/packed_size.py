"""The bound on what a packed body may unpack to, so that a small body takes little time and memory."""

from typing import Final

# zlib packs 1,000 equal bytes into one, and reading costs as much as the unpacked size.
MOST_GROWTH: Final = 100
FREE_GROWTH: Final = 1 << 20  # bytes
CELL: Final = 8  # bytes of a number in a table


def allowed_size(packed: int) -> int:
    """Return the bytes that a body of so many packed bytes may unpack to."""
    return FREE_GROWTH + MOST_GROWTH * packed
