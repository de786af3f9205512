"""One directory of MLflow's listing, read entry by entry: its size is the server's choice, and memory is not."""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from model_contract.model_ref import shown
from model_delivery.errors import InvalidInputError
from model_delivery.plan import MOST_FILES, ListedFile, Listing, checked_name

LONGEST_VALUE: Final = 1 << 16  # characters of one entry, or of another field of the answer
AT_LEAST: Final = 1 << 16  # characters to read before a value that was not whole is tried again
FILES: Final = "files"


class NoListingError(ValueError):
    """The answer is no JSON object."""


def parse_listing(content: Iterable[bytes]) -> Listing:
    """Return one directory from MLflow's answer, which comes in pieces.

    Raises InvalidInputError for a name that must not become a path or comes twice, and for too many; NoListingError.
    """
    files: list[ListedFile] = []
    directories: list[str] = []
    names: set[str] = set()
    for entry in _entries(_Reader(content)):
        name = checked_name(entry.get("path"))
        if name in names:
            raise InvalidInputError(f"MLflow lists {shown(name)} twice in one directory")
        names.add(name)
        if len(names) > MOST_FILES:
            raise InvalidInputError(f"MLflow lists more than {MOST_FILES} files in one directory")
        size = _size(entry)
        if entry.get("is_dir") is True:
            directories.append(name)
        else:
            files.append(ListedFile(path=name, size=size))
    return Listing(files=tuple(files), directories=tuple(directories))


class _Reader:
    """JSON values from a text of which only a window is in memory."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = iter(content)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self._text = self._text.lstrip(" \t\r\n")
            if self._text or not self._more():
                return self._text[:1]

    def take(self, expected: str) -> bool:
        """Passes over the next character if it is `expected`."""
        if self.peek() != expected:
            return False
        self._text = self._text[1:]
        return True

    def value(self) -> Any:
        """The next value. Raises NoListingError, InvalidInputError if it is too long."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except (ValueError, RecursionError):
                end = len(self._text)
                value = None
                if self._ended:
                    raise NoListingError from None
            if end < len(self._text) or self._ended:
                self._text = self._text[end:]
                return value
            if len(self._text) > LONGEST_VALUE:
                raise InvalidInputError(f"MLflow's listing has an entry of more than {LONGEST_VALUE} characters")
            self._more()

    def _more(self) -> bool:
        """Reads on; False at the end."""
        parts: list[str] = []
        length = 0
        while length < AT_LEAST and not self._ended:
            piece = next(self._content, None)
            self._ended = piece is None
            try:
                parts.append(self._utf8.decode(piece or b"", final=self._ended))
            except UnicodeDecodeError:
                raise NoListingError from None
            length += len(parts[-1])
        self._text += "".join(parts)
        return length > 0


def _entries(reader: _Reader) -> Iterator[Mapping[str, Any]]:
    """The elements of `files`; other fields of the answer are passed over."""
    if not reader.take("{"):
        raise NoListingError
    if reader.take("}"):
        return
    while True:
        key = reader.value()
        if not isinstance(key, str) or not reader.take(":"):
            raise NoListingError
        if key == FILES:
            yield from _elements(reader)
        else:
            reader.value()
        if reader.take("}"):
            return
        if not reader.take(","):
            raise NoListingError


def _elements(reader: _Reader) -> Iterator[Mapping[str, Any]]:
    if not reader.take("["):
        raise InvalidInputError("MLflow's listing has another form than expected")
    if reader.take("]"):
        return
    while True:
        element = reader.value()
        if not isinstance(element, dict):
            raise InvalidInputError("MLflow's listing has another form than expected")
        yield element
        if reader.take("]"):
            return
        if not reader.take(","):
            raise NoListingError


def _size(entry: Mapping[str, object]) -> int | None:
    # MLflow leaves the field out for an empty file, and for a size that its artifact store does not give.
    value = entry.get("file_size")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise InvalidInputError("MLflow lists an artifact with a size that is no number of bytes")
