"""Parse MLflow's listing of one directory entry by entry: a server may send one that does not fit into memory."""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from model_contract.model_ref import shown
from model_delivery.artifact_paths import checked_name
from model_delivery.errors import InvalidInputError
from model_delivery.listed_model import MOST_FILES, ListedFile, Listing

LONGEST_VALUE: Final = 1 << 16  # characters of one entry, or of another field of the answer
AT_LEAST: Final = 1 << 16  # characters to read before a value that was not whole is tried again
FILES: Final = "files"


class NotAListingError(ValueError):
    """The answer is not a JSON object."""


def parse_listing(content: Iterable[bytes]) -> Listing:
    """Return one directory from MLflow's answer, which comes in pieces.

    Raises InvalidInputError for a name that is unsafe in a path or comes twice, and for too many names, and
    NotAListingError.
    """
    files: list[ListedFile] = []
    directories: list[str] = []
    names: set[str] = set()
    for entry in _entries(_JsonReader(content)):
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


class _JsonReader:
    """Reads JSON values from a text, and keeps only a part of the text in memory."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = iter(content)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not white space; an empty text at the end."""
        while True:
            self._text = self._text.lstrip(" \t\r\n")
            if self._text or not self._more():
                return self._text[:1]

    def take(self, expected: str) -> bool:
        """Skip the next character if it is `expected`, and return True if it was."""
        if self.peek() != expected:
            return False
        self._text = self._text[1:]
        return True

    def value(self) -> Any:
        """Return the next value. Raises NotAListingError, or InvalidInputError if it is too long."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except (ValueError, RecursionError):
                end = len(self._text)
                value = None
                if self._ended:
                    raise NotAListingError from None
            if end < len(self._text) or self._ended:
                self._text = self._text[end:]
                return value
            if len(self._text) > LONGEST_VALUE:
                raise InvalidInputError(f"MLflow's listing has an entry of more than {LONGEST_VALUE} characters")
            self._more()

    def _more(self) -> bool:
        """Read more of the content; False at its end."""
        parts: list[str] = []
        length = 0
        while length < AT_LEAST and not self._ended:
            piece = next(self._content, None)
            self._ended = piece is None
            try:
                parts.append(self._utf8.decode(piece or b"", final=self._ended))
            except UnicodeDecodeError:
                raise NotAListingError from None
            length += len(parts[-1])
        self._text += "".join(parts)
        return length > 0


def _entries(reader: _JsonReader) -> Iterator[Mapping[str, Any]]:
    """Yield the elements of `files`; other fields of the answer are skipped."""
    if not reader.take("{"):
        raise NotAListingError
    if reader.take("}"):
        return
    while True:
        key = reader.value()
        if not isinstance(key, str) or not reader.take(":"):
            raise NotAListingError
        if key == FILES:
            yield from _array_elements(reader)
        else:
            reader.value()
        if reader.take("}"):
            return
        if not reader.take(","):
            raise NotAListingError


def _array_elements(reader: _JsonReader) -> Iterator[Mapping[str, Any]]:
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
            raise NotAListingError


def _size(entry: Mapping[str, object]) -> int | None:
    # MLflow leaves the field out for an empty file, and for a size that its artifact store does not give.
    value = entry.get("file_size")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise InvalidInputError("MLflow lists an artifact with a size that is not a number of bytes")
