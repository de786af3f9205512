"""The footer of a Parquet file, read to find encrypted columns: pyarrow ends the process if it is asked about one.

The footer has the structs of parquet.thrift in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from collections.abc import Iterator
from typing import Final

ENCRYPTED_FOOTER: Final = b"PARE"
TAIL: Final = 8  # bytes: the length of the footer, and four letters
ROW_GROUPS: Final = 4  # field of FileMetaData
COLUMNS: Final = 1  # field of RowGroup
ENCRYPTION: Final = 8  # field of ColumnChunk, crypto_metadata
# Types of Thrift's compact protocol. True and false are types of a field, and have no value behind it.
TRUE, FALSE, BYTE, INT16, INT32, INT64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
NUMBERS: Final = frozenset({INT16, INT32, INT64})
MORE: Final = 0x80  # in a byte of a number: another one follows
LONG_LIST: Final = 15  # in the head of a list: its length follows


def footer_length(body: bytes) -> int:
    """Return the length in bytes that the end of a file says."""
    return int.from_bytes(body[-TAIL:][:4], "little")


def has_encrypted_columns(body: bytes) -> bool:
    """Return True if a column is encrypted, of a file that Arrow has opened. Raises ValueError for a wrong footer."""
    footer = _Compact(body[-TAIL - footer_length(body) : -TAIL])
    chunks = (None for _ in footer.structs_of(ROW_GROUPS) for _ in footer.structs_of(COLUMNS))
    try:
        return any(ENCRYPTION in footer.passed_fields() for _ in chunks)
    except (IndexError, RecursionError) as error:
        raise ValueError from error


class _Compact:
    """Thrift's compact protocol, of which each value is passed over."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def structs_of(self, wanted: int) -> Iterator[None]:
        """Pass over a struct, and stop at each struct of its list `wanted`, which the caller passes over."""
        for number, kind in self._fields():
            if (number, kind) != (wanted, LIST):
                self._skip(kind)
                continue
            count, _ = self._list_head()  # Arrow reads structs, whatever the list says that it has
            for _ in range(count):
                yield

    def passed_fields(self) -> set[int]:
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
            yield number, head & 0x0F

    def _skip(self, kind: int) -> None:  # noqa: C901  one case for each type
        if kind in NUMBERS:
            while self._data[self._at] >= MORE:
                self._at += 1
            self._at += 1
        elif kind == BINARY:
            length = self._varint()
            self._at += length
        elif kind == STRUCT:
            for _, field in self._fields():
                self._skip(field)
        elif kind in {LIST, SET}:
            count, element = self._list_head()
            for _ in range(count):
                self._skip_element(element)
        elif kind == MAP:
            self._skip_map()
        elif kind in {BYTE, DOUBLE}:
            self._at += 1 if kind == BYTE else 8
        elif kind not in {TRUE, FALSE}:
            raise ValueError

    def _skip_element(self, kind: int) -> None:
        self._skip(BYTE if kind in {TRUE, FALSE} else kind)

    def _skip_map(self) -> None:
        if count := self._varint():
            kinds = self._byte()
            for _ in range(count):
                self._skip_element(kinds >> 4)
                self._skip_element(kinds & 0x0F)

    def _list_head(self) -> tuple[int, int]:
        """Return the number of elements and their type."""
        head = self._byte()
        count = head >> 4
        return self._varint() if count == LONG_LIST else count, head & 0x0F

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
        return value | byte << shift
