"""A value that must not be printed."""

from pathlib import Path
from typing import Final

LARGEST_FILE: Final = 1 << 16  # bytes: a file of another kind is not read whole


class Secret:
    """Holds a token; `str`, `repr` and formatting show that there is one, never which."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, to be put in a header and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")

    @classmethod
    def from_file(cls, path: Path) -> "Secret":
        """Reads a mounted token. White space at its ends goes: a header with a newline is refused, and printed, by HTTP
        clients.

        Raises OSError when the file cannot be read, ValueError when it is empty or is no header value.
        """
        with path.open("rb") as content:
            read = content.read(LARGEST_FILE + 1)
        if len(read) > LARGEST_FILE:
            raise ValueError(f"{path} is larger than any token")
        value = read.decode("utf-8").strip()
        if not value:
            raise ValueError(f"{path} is empty; it must hold the token")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(f"{path} holds characters that no token has")
        return cls(value)
