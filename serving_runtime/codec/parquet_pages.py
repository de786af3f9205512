"""The heads of the pages of a Parquet file, which are believed when it is read, whatever the footer says of them."""

from typing import TYPE_CHECKING, Final

from serving_runtime.codec.parquet_footer import Compact
from serving_runtime.errors import MalformedRequestError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MOST_PAGES: Final = 100_000  # to read the head of one takes 20 us, and writers have some thousands of rows in each
# Fields of PageHeader in parquet.thrift. By the number of a kind of pages of values, the field that counts these.
KIND, DECOMPRESSED, COMPRESSED = 1, 2, 3
VALUES: Final = {0: 5, 3: 8}


class Pages:
    """The pages of a file, in which chunks may share some."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._left = MOST_PAGES

    def sizes(self, chunk: "pq.ColumnChunkMetaData") -> tuple[int, int]:
        """Return the decompressed bytes and the values of the pages that Arrow reads of a chunk.

        Raises MalformedRequestError, ValueError.
        """
        start = chunk.data_page_offset
        if 0 < (dictionary := chunk.dictionary_page_offset or 0) < start:
            start = dictionary
        end = start + chunk.total_compressed_size
        if not 0 <= start <= end <= len(self._body):
            raise ValueError
        size = values = 0
        while start < end and values < chunk.num_values:
            head = Compact(self._body, start)
            try:
                page = head.numbers(VALUES.values())
                decompressed, compressed = page[DECOMPRESSED], page[COMPRESSED]
                count = page[VALUES[page[KIND]]] if page[KIND] in VALUES else 0
            except (IndexError, KeyError, RecursionError) as error:
                raise ValueError from error
            if min(decompressed, compressed, count) < 0:
                raise ValueError
            self._left -= 1
            if self._left < 0:
                raise MalformedRequestError("the Parquet file has too many pages; write it with more rows in each")
            size, values, start = size + decompressed, values + count, head.position + compressed
        return size, values
