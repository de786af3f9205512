"""A value that must not be printed."""

from pathlib import Path
from typing import Final

LARGEST_FILE: Final = 1 << 16  # bytes: a file of another kind is not read whole


class Secret:
    """A token or password. `str`, `repr` and formatting never show its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, for a header and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")

    @classmethod
    def from_file(cls, path: Path) -> "Secret":
        """Return a mounted token without white space at its ends: HTTP clients print a header with a line break.

        Raises OSError if the file cannot be read, ValueError if it is empty or cannot be a header's value.
        """
        with path.open("rb") as content:
            read = content.read(LARGEST_FILE + 1)
        if len(read) > LARGEST_FILE:
            raise ValueError(f"{path} is larger than any token")
        value = read.decode("utf-8").strip()
        if not value:
            raise ValueError(f"{path} is empty; it must hold the token")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(f"{path} holds characters that a token cannot have")
        return cls(value)
