"""Splitting of a CSV file into blocks of whole records, without parsing each record."""

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Final

import numpy as np

from serving_runtime.errors import MalformedRequestError

BLOCK: Final = 8 * 1024 * 1024  # bytes: some 40,000 rows of a dozen numbers, a few of these at a time
QUOTE: Final = b'"'
LINE_END: Final = ord("\n")
MARKS: Final = frozenset((QUOTE, b"\0", b"\r", b"N", b"n"))  # single letters on which the way to read a text depends
PIECE: Final = 256 * 1024  # bytes that stay in the processor's cache
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
UNFINISHED: Final = "unexpected end of data"  # the csv module's message for a record that continues


@dataclass(frozen=True, slots=True)
class Letters:
    """Those of the MARKS that are in a text, and the count of its line ends."""

    marks: frozenset[bytes]
    line_ends: int

    @classmethod
    def of(cls, text: bytes) -> "Letters":
        """Seek all letters in a piece while it is in the processor's cache.

        In the whole text, one after another, each of them would be a way through the memory. numpy counts line ends in
        a quarter of the time that `bytes.count` takes for short lines.
        """
        marks: set[bytes] = set()
        line_ends, numbers = 0, np.frombuffer(text, np.uint8)
        for start in range(0, len(text), PIECE):
            end = start + PIECE
            marks |= {mark for mark in MARKS - marks if text.find(mark, start, end) >= 0}
            line_ends += int(np.count_nonzero(numbers[start:end] == LINE_END))
        return cls(frozenset(marks), line_ends)

    def __add__(self, other: "Letters") -> "Letters":
        return Letters(self.marks | other.marks, self.line_ends + other.line_ends)


@dataclass(frozen=True, kw_only=True)
class CsvBlock:
    """`text` holds whole records, the first of which begins at `line` of the file (1 is the header's).

    `sound`: the header, and each record with a quote in it, was read strictly. `known_letters` may have marks that are
    not in the text.
    """

    text: bytes
    line: int
    sound: bool = True
    known_letters: Letters | None = None

    @cached_property
    def marks(self) -> frozenset[bytes]:
        return (self.known_letters or Letters.of(self.text)).marks

    @property
    def quoted(self) -> bool:
        return QUOTE in self.marks


def read_csv_blocks(stream: IO[bytes], at_once: int = BLOCK) -> Iterator[CsvBlock]:
    """Yield the header as the first block, then the rows. The blocks joined are the file, without a byte order mark.

    `at_once`: bytes of one read. A pipe's block is what has arrived. Raises MalformedRequestError without a header.
    """
    pending, line, begun = b"", 1, False
    while True:
        pieces, letters = _arrived(stream, at_once)
        if begun and pieces and QUOTE not in letters.marks and QUOTE not in pending:
            letters += Letters.of(pending)
            text, pending = _whole_records(pending, pieces)
            if text:
                yield CsvBlock(text=text, line=line, known_letters=letters)
                line += letters.line_ends
            continue
        pending = b"".join((pending, *pieces))
        if not begun and (end := _end_of_first(pending, final=not pieces)):
            if pending == BYTE_ORDER_MARK:
                break
            yield CsvBlock(text=pending[:end].removeprefix(BYTE_ORDER_MARK), line=line, sound=_is_csv(pending[:end]))
            line, pending, begun = line + pending.count(b"\n", 0, end), pending[end:], True
        end, sound = _end_of_last(pending, final=not pieces) if begun else (0, True)
        if end:
            yield CsvBlock(text=pending[:end], line=line, sound=sound)
            line, pending = line + pending.count(b"\n", 0, end), pending[end:]
        if not pieces:
            break
    if not begun:
        raise MalformedRequestError("the file is empty; its first line must name the columns")


def _arrived(stream: IO[bytes], at_once: int) -> tuple[list[bytes], Letters]:
    """Return what has arrived, a block at most, in the pieces of its reads. Nothing has at the end of the stream."""
    pieces: list[bytes] = []
    letters, size = Letters(frozenset(), 0), 0
    while size < BLOCK:
        piece: bytes = stream.read1(at_once)  # type: ignore[attr-defined]  # of every buffered binary stream
        if piece:
            pieces.append(piece)
            letters += Letters.of(piece)
            size += len(piece)
        if len(piece) < at_once:  # the rest is still to come
            break
    return pieces, letters


def _whole_records(pending: bytes, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Return the whole records, copied once, and the begun one. No text has a quote, and `pending` no line end."""
    for place in reversed(range(len(pieces))):
        if end := pieces[place].rfind(b"\n") + 1:
            whole: list[bytes | memoryview] = [pending, *pieces[:place], memoryview(pieces[place])[:end]]
            return b"".join(whole), b"".join((pieces[place][end:], *pieces[place + 1 :]))
    return b"", b"".join((pending, *pieces))


def _end_of_first(text: bytes, *, final: bool) -> int:
    """Return the end of the first record, 0 if more of it may come. Empty lines before it belong to it."""
    lines = _whole_lines(text, final=final)
    reader = csv.reader(map(_decoded, lines), strict=True)
    with suppress(csv.Error):
        for cells in reader:
            if cells:
                return sum(map(len, lines[: reader.line_num]))
    return len(text) if final else 0


def _is_csv(text: bytes) -> bool:
    try:
        return bool(list(csv.reader(map(_decoded, io.BytesIO(text)), strict=True)))
    except csv.Error:
        return False


def _end_of_last(text: bytes, *, final: bool) -> tuple[int, bool]:
    """Return the end of the last whole record, 0 if there is none, and False if a record is no CSV.

    At the end of the file, a record that is not whole is no CSV.
    """
    if QUOTE not in text:
        return (len(text) if final else text.rfind(b"\n") + 1), True
    lines, whole = _whole_lines(text, final=final), 0
    reader = csv.reader(map(_decoded, lines), strict=True)
    try:
        for _ in reader:
            whole = reader.line_num
    except csv.Error as error:
        if final or str(error) != UNFINISHED:
            return sum(map(len, lines)), False  # the reader of the record says what is wrong
    return sum(map(len, lines[:whole])), True


def _whole_lines(text: bytes, *, final: bool) -> list[bytes]:
    lines = io.BytesIO(text).readlines()
    return lines if final or not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _decoded(line: bytes) -> str:
    """Return the line as Latin-1, in which every byte is a letter: the bytes that separate records are ASCII."""
    return line.decode("latin-1")
