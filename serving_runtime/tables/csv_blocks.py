"""Splitting of a CSV file into blocks of whole records, without parsing each record."""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Final

import numpy as np

from serving_runtime.codec.csv_reader import CARRIAGE_RETURNS, LONGEST_FIELD, csv_reader
from serving_runtime.errors import MalformedRequestError

BLOCK: Final = 8 * 1024 * 1024  # bytes: some 40,000 rows of a dozen numbers, a few of these at a time
LONGEST_RECORD: Final = 64 << 20  # bytes: what has no end is refused before it fills the memory
LONGEST_HEADER: Final = 16 << 20
QUOTE: Final = b'"'
LINE_END: Final = ord("\n")
MARKS: Final = frozenset((QUOTE, b"\0", b"\r", b"N", b"n"))  # single bytes on which the way to read a text depends
PIECE: Final = 256 * 1024  # bytes that stay in the processor's cache
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
UNFINISHED: Final = "unexpected end of data"  # the csv module's message for a record that continues


@dataclass(frozen=True, slots=True)
class MarksFound:
    """The MARKS that a text has, and the number of its line ends."""

    marks: frozenset[bytes]
    line_ends: int

    @classmethod
    def of(cls, text: bytes, start: int = 0) -> "MarksFound":
        """Search a piece for all marks while it is in the processor's cache.

        In the whole text, each search would read the memory once more. numpy counts line ends in a quarter of the time
        that `bytes.count` takes for short lines.
        """
        marks: set[bytes] = set()
        line_ends, numbers = 0, np.frombuffer(text, np.uint8)
        for first in range(start, len(text), PIECE):
            end = first + PIECE
            marks |= {mark for mark in MARKS - marks if text.find(mark, first, end) >= 0}
            line_ends += int(np.count_nonzero(numbers[first:end] == LINE_END))
        return cls(frozenset(marks), line_ends)


@dataclass(frozen=True, kw_only=True)
class CsvBlock:
    """`content` holds whole records, the first of which begins at `line` of the file (1 is the header's).

    `sound`: the header, and each record with a quote in it, was read strictly. `known_marks` may have some that are not
    in the content.
    """

    content: bytes | memoryview
    line: int
    sound: bool = True
    known_marks: frozenset[bytes] | None = None

    @cached_property
    def text(self) -> bytes:
        """The content in memory of its own."""
        return bytes(self.content)

    @cached_property
    def marks(self) -> frozenset[bytes]:
        return MarksFound.of(self.text).marks if self.known_marks is None else self.known_marks

    @property
    def quoted(self) -> bool:
        return QUOTE in self.marks


def read_csv_blocks(stream: IO[bytes], *, is_file: bool = False) -> Iterator[CsvBlock]:
    """Yield the header as the first block, then the rows. The blocks joined are the file, without a byte order mark.

    A block is what has arrived, as of a pipe. If the stream `is_file`, the begin of a record at the end of a block is
    read again with the next one, because to join the two would copy the whole block.
    Raises MalformedRequestError without a header, and for a record of more than LONGEST_RECORD.
    """
    read: Callable[[int], bytes] = stream.read if is_file else stream.read1  # type: ignore[attr-defined]  # of all buffered
    pending, line, begun, final = _UnfinishedRecord(), 1, False, False
    while not final:
        arrived = read(BLOCK)
        final, start = not arrived, 0
        if (text := pending.with_arrived(arrived)) is None:
            pending.expect_at_most(LONGEST_RECORD if begun else LONGEST_HEADER, line)
            continue
        if not begun:
            start = _end_of_first(text, final=final)
            begun = start > 0 and text != BYTE_ORDER_MARK
            if begun:
                header = text[:start]
                yield CsvBlock(content=header.removeprefix(BYTE_ORDER_MARK), line=line, sound=_is_csv(header))
                line += header.count(b"\n")
        found = MarksFound.of(text, start)
        end, sound = _end_of_last(text, start, found.marks, final=final) if begun else (0, True)
        if end > start:
            content = memoryview(text)[start:end]
            yield CsvBlock(content=content, line=line, sound=sound, known_marks=found.marks)
            line += found.line_ends - text.count(b"\n", end)
        if is_file and end:
            stream.seek(end - len(text), io.SEEK_CUR)
        else:
            pending.begin(text[end:])
            pending.expect_at_most(LONGEST_RECORD if begun else LONGEST_HEADER, line)
    if not begun:
        raise MalformedRequestError("the file is empty; its first line must name the columns")


class _UnfinishedRecord:
    """The beginning of a record whose end has not come: whole lines, empty or within quotes, and a part of one.

    Lines that have been read are not read again with each piece that arrives, of which a pipe has many.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._rest: list[bytes] = []
        self._in_quotes = False
        self._size = 0

    def begin(self, text: bytes) -> None:
        """Take the text behind the last record that has ended."""
        end = text.rfind(b"\n") + 1
        self._lines, self._rest, self._size = [text[:end]] if end else [], [text[end:]], len(text)
        self._in_quotes = bool(text[:end].strip(b"\r\n"))

    def with_arrived(self, piece: bytes) -> bytes | None:
        """Return the text with the piece, and forget it; None if no record ends in it. No piece is the end of the file.

        A text that has become longer than a field may be is returned too.
        """
        steps = self._size // LONGEST_FIELD
        self._size += len(piece)
        if piece and b"\n" not in piece:
            self._rest.append(piece)
            return None
        tail = b"".join((*self._rest, piece))
        if piece and self._lines and self._size // LONGEST_FIELD == steps and not self._ends_in(tail):
            end = tail.rfind(b"\n") + 1
            self._lines.append(tail[:end])
            self._rest = [tail[end:]]
            return None
        text = b"".join((*self._lines, tail))
        self._lines, self._rest, self._size = [], [], 0
        return text

    def _ends_in(self, tail: bytes) -> bool:
        lines = _whole_lines(tail, final=False)
        if self._in_quotes:
            lines[0] = QUOTE + lines[0]
        try:
            for cells in csv_reader(map(_decoded, lines), strict=True):
                if cells:
                    return True
        except csv.Error as error:
            self._in_quotes = str(error) == UNFINISHED
            return not self._in_quotes
        return False

    def expect_at_most(self, size: int, line: int) -> None:
        """Raise MalformedRequestError if the record, which begins at the line, is longer."""
        if self._size <= size:
            return
        problem = "is a quote missing?" if self._in_quotes else "does each row have a line?"
        if not self._lines and any(b"\r" in piece for piece in self._rest):
            problem = CARRIAGE_RETURNS
        raise MalformedRequestError(f"line {line} begins a record of more than {size >> 20} MiB; {problem}")


def _end_of_first(text: bytes, *, final: bool) -> int:
    """Return the end of the first record, 0 if more of it may come. Empty lines before it belong to it."""
    lines = _whole_lines(text, final=final)
    reader = csv_reader(map(_decoded, lines), strict=True)
    with suppress(csv.Error):
        for cells in reader:
            if cells:
                return sum(map(len, lines[: reader.line_num]))
    return len(text) if final else 0


def _is_csv(text: bytes) -> bool:
    try:
        return bool(list(csv_reader(map(_decoded, io.BytesIO(text)), strict=True)))
    except csv.Error:
        return False


def _end_of_last(text: bytes, start: int, marks: frozenset[bytes], *, final: bool) -> tuple[int, bool]:
    """Return the end of the last whole record from `start` on, and False if a record is no CSV.

    The end is `start` if there is none. At the end of the file, a record that is not whole is no CSV.
    """
    if QUOTE not in marks:
        return (len(text) if final else max(text.rfind(b"\n", start) + 1, start)), True
    lines, whole = _whole_lines(memoryview(text)[start:], final=final), 0
    reader = csv_reader(map(_decoded, lines), strict=True)
    try:
        for _ in reader:
            whole = reader.line_num
    except csv.Error as error:
        if final or str(error) != UNFINISHED:
            return start + sum(map(len, lines)), False  # the reader of the record says what is wrong
    return start + sum(map(len, lines[:whole])), True


def _whole_lines(text: bytes | memoryview, *, final: bool) -> list[bytes]:
    lines = io.BytesIO(text).readlines()
    return lines if final or not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _decoded(line: bytes) -> str:
    """Return the line as Latin-1, in which every byte is a letter: the bytes that separate records are ASCII."""
    return line.decode("latin-1")
