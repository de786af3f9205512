"""The footer of a Parquet file, read before pyarrow reads it.

pyarrow ends the process if it is asked about an encrypted column, and takes a thousand bytes for one that has eight.

Footers and the heads of pages have the structs of parquet.thrift in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

PLAIN_FOOTER: Final = b"PAR1"
ENCRYPTED_FOOTER: Final = b"PARE"
TAIL: Final = 8  # bytes: the length of the footer, and four letters
SCHEMA, ROW_GROUPS = 2, 4  # fields of FileMetaData
COLUMNS: Final = 1  # field of RowGroup
ENCRYPTION: Final = 8  # field of ColumnChunk, crypto_metadata
# Types of Thrift's compact protocol. True and false are types of a field, and have no value behind it.
TRUE, FALSE, BYTE, INT16, INT32, INT64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
NUMBERS: Final = frozenset({INT16, INT32, INT64})
SIZES: Final = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}  # bytes of an element of a list
MORE: Final = 0x80  # in a byte of a number: another one follows
LONGEST: Final = 64  # bits of a number
LARGEST_FIELD: Final = 0x7FFF
LONG_LIST: Final = 15  # in the head of a list: its length follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """Counts of the structs in a footer: `elements` of the schema, row groups, and chunks of columns in all of them."""

    elements: int
    row_groups: int
    chunks: int
    encrypted: bool


def footer_length(body: bytes) -> int:
    """Return the length in bytes that the end of a file says."""
    return int.from_bytes(body[-TAIL:][:4], "little")


def read_footer(body: bytes) -> Footer:
    """Read the footer, whatever is in the rest of the file. Raises ValueError for a wrong one."""
    length = footer_length(body)
    if length > len(body) - TAIL or not body.endswith(PLAIN_FOOTER):
        raise ValueError
    try:
        return Compact(body[-TAIL - length : -TAIL]).footer()
    except (IndexError, RecursionError) as error:
        raise ValueError from error


class Compact:
    """Thrift's compact protocol, of which each value is passed over."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._at = start

    @property
    def position(self) -> int:
        return self._at

    def footer(self) -> Footer:
        elements = row_groups = chunks = 0
        encrypted = False
        for number in self._structs_of(SCHEMA, ROW_GROUPS):
            if number == SCHEMA:
                elements += 1
                self._skip(STRUCT)
                continue
            row_groups += 1
            for _ in self._structs_of(COLUMNS):
                chunks += 1
                encrypted |= ENCRYPTION in self._passed_fields()
        return Footer(elements=elements, row_groups=row_groups, chunks=chunks, encrypted=encrypted)

    def numbers(self, structs: Collection[int] = ()) -> dict[int, int]:
        """Pass over a struct, and return the 32-bit numbers of its fields; of a field that is in `structs`, its first.

        Raises ValueError, IndexError.
        """
        found: dict[int, int] = {}
        for number, kind in self._fields():
            value: int | None
            if kind == INT32:
                value = self._zigzag()
            elif kind == STRUCT and number in structs:
                value = self.numbers().get(1)
            else:
                self._skip(kind)
                continue
            if number in found or value is None or not -(1 << 31) <= value < 1 << 31:
                raise ValueError
            found[number] = value
        return found

    def _structs_of(self, *wanted: int) -> Iterator[int]:
        """Pass over a struct, and stop at each struct of its lists `wanted`, which the caller passes over."""
        for number, kind in self._fields():
            if kind != LIST or number not in wanted:
                self._skip(kind)
                continue
            count, _ = self._list_head()  # Arrow reads structs, whatever the list says that it has
            for _ in range(count):
                yield number

    def _passed_fields(self) -> set[int]:
        """Pass over a struct, and return the numbers of its fields."""
        numbers = set()
        for number, kind in self._fields():
            numbers.add(number)
            self._skip(kind)
        return numbers

    def _fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and type of each field of a struct."""
        number = 0
        while head := self._byte():
            step = head >> 4
            number = number + step if step else self._zigzag()
            if not 0 <= number <= LARGEST_FIELD:  # of which Arrow takes 16 bits
                raise ValueError
            yield number, head & 0x0F

    def _skip(self, kind: int) -> None:  # noqa: C901  one case for each type
        if kind in NUMBERS:
            while self._data[self._at] >= MORE:
                self._at += 1
            self._at += 1
        elif kind == BINARY:
            length = self._count()
            self._at += length
        elif kind == STRUCT:
            for _, field in self._fields():
                self._skip(field)
        elif kind in {LIST, SET}:
            count, element = self._list_head()
            if element in SIZES:
                self._at += count * SIZES[element]
                return
            for _ in range(count):
                self._skip(element)
        elif kind == MAP:
            self._skip_map()
        elif kind in {BYTE, DOUBLE}:
            self._at += SIZES[kind]
        elif kind not in {TRUE, FALSE}:
            raise ValueError

    def _skip_element(self, kind: int) -> None:
        self._skip(BYTE if kind in {TRUE, FALSE} else kind)

    def _skip_map(self) -> None:
        if count := self._count():
            kinds = self._byte()
            for _ in range(count):
                self._skip_element(kinds >> 4)
                self._skip_element(kinds & 0x0F)

    def _list_head(self) -> tuple[int, int]:
        """Return the number of elements and their type."""
        head = self._byte()
        count = head >> 4
        return self._count() if count == LONG_LIST else count, head & 0x0F

    def _count(self) -> int:
        """Return the length of a text, a list or a map: each byte or value of it takes a byte or more.

        Arrow takes 32 bits of a longer number.
        """
        count = self._varint()
        if count > len(self._data) - self._at:
            raise ValueError
        return count

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) >= MORE:
            value |= (byte - MORE) << shift
            shift += 7
            if shift > LONGEST:
                raise ValueError
        return value | byte << shift
