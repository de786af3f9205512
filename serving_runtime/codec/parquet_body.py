"""Parquet bodies, as pandas reads them, and the limit on their decompressed size."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pandas as pd

from serving_runtime.codec.decompressed_size import CELL, MOST_GROWTH, decompressed_limit
from serving_runtime.codec.parquet_footer import ENCRYPTED_FOOTER, PLAIN_FOOTER, footer_length, read_footer
from serving_runtime.codec.parquet_pages import Pages
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.request import TypedFrame

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

LARGEST_BATCH: Final = 1 << 16  # rows
# A column costs pyarrow and pandas some 90 KB, cells or none.
MOST_COLUMNS: Final = 2000
MOST_ELEMENTS: Final = 10 * MOST_COLUMNS  # of the schema, which also has the lists and objects that columns are in
MOST_CHUNKS: Final = 20_000  # of a column in a row group: to look at each takes 20 us
LARGEST_FOOTER: Final = 8 << 20  # bytes
TEXT, FIXED = "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"
TOO_MANY_COLUMNS: Final = f"the Parquet file has more than {MOST_COLUMNS} columns; send fewer"
TOO_MANY_GROUPS: Final = "the Parquet file has too many row groups; write it with more rows in each"


def read_parquet(body: bytes) -> TypedFrame:
    """Read a Parquet file. Raises MalformedRequestError."""
    try:
        check_growth(body)
        frame = pd.read_parquet(io.BytesIO(body))
        _check_texts(frame)
        return TypedFrame(frame=frame)
    except ImportError:
        raise MalformedRequestError(
            "this server cannot read Parquet: pyarrow, of the extra tables, is not installed in it; send CSV or JSON"
        ) from None
    except MalformedRequestError:
        raise
    except Exception as error:
        raise MalformedRequestError(
            f"the body is no Parquet file that pandas can read ({type(error).__name__})"
        ) from error


def _check_footer(body: bytes) -> None:
    """Raise MalformedRequestError for encryption, or for a footer that takes pyarrow seconds or gigabytes to read."""
    encrypted = body.endswith(ENCRYPTED_FOOTER)
    if not encrypted and body.endswith(PLAIN_FOOTER) and LARGEST_FOOTER < footer_length(body) < len(body):
        raise MalformedRequestError(TOO_MANY_GROUPS)
    footer = None if encrypted else read_footer(body)
    if footer is None or footer.encrypted:
        raise MalformedRequestError("the Parquet file is encrypted, and the server has no keys; send it unencrypted")
    if footer.elements > MOST_ELEMENTS:
        raise MalformedRequestError(TOO_MANY_COLUMNS)
    if max(footer.chunks, footer.row_groups) > MOST_CHUNKS:
        raise MalformedRequestError(TOO_MANY_GROUPS)


def _check_texts(frame: pd.DataFrame) -> None:
    """Raise MalformedRequestError for a text that is no UTF-8, which neither Arrow nor pandas looks for."""
    for place, kind in enumerate(frame.dtypes):
        if isinstance(kind, pd.StringDtype):
            try:
                frame.iloc[:, place].array.__arrow_array__().validate(full=True)
            except ValueError:
                name = frame.columns[place]
                raise MalformedRequestError(
                    f'the column "{name}" of the Parquet file holds bytes that are no UTF-8'
                ) from None


def check_growth(body: bytes) -> None:
    """Raise MalformedRequestError for a file with more cells than its size allows: one page can hold millions."""
    import pyarrow as pa  # noqa: PLC0415  it need not be installed
    import pyarrow.parquet as pq  # noqa: PLC0415  as above

    from serving_runtime.codec.repeated_texts import repeated  # noqa: PLC0415  as above

    allowed = decompressed_limit(len(body))
    _check_footer(body)
    file = pq.ParquetFile(io.BytesIO(body))
    if file.metadata.num_columns > MOST_COLUMNS:
        raise MalformedRequestError(TOO_MANY_COLUMNS)
    columns = [file.schema.column(number) for number in range(file.metadata.num_columns)]
    cell_sizes = [max(CELL, column.length if column.physical_type == FIXED else 0) for column in columns]
    pages, chunks, cells = Pages(body), 0, 0
    for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
        for number, cell_size in enumerate(cell_sizes):
            chunk = group.column(number)
            decompressed, values = pages.sizes(chunk)
            chunks += max(decompressed, chunk.total_uncompressed_size)
            cells += cell_size * max(values, chunk.num_values, group.num_rows)
    size = max(chunks, cells)
    if size <= allowed and any(column.physical_type == TEXT for column in columns):
        # Each cell of a text may be as long as a whole chunk: a batch of so few rows holds no more than is allowed. Not
        # so in lists, of which one row may have all cells, so that their texts stay in a dictionary.
        in_lists = [column.path for column in columns if column.physical_type == TEXT and column.max_repetition_level]
        file = pq.ParquetFile(io.BytesIO(body), read_dictionary=in_lists) if in_lists else file
        batch_rows = max(1, min(LARGEST_BATCH, allowed // max(1, chunks)))
        size = 0
        for batch in _batches(file, batch_rows) if in_lists else file.iter_batches(batch_size=batch_rows):
            size += batch.nbytes + sum(map(repeated, batch.columns))
            if size > allowed:
                break
        pa.default_memory_pool().release_unused()
    if size > allowed:
        raise MalformedRequestError(
            f"the Parquet file is more than {MOST_GROWTH} times as large once decompressed; send fewer rows at a time"
        )


def _batches(file: "pq.ParquetFile", rows: int) -> Iterator["pa.RecordBatch"]:
    """Yield batches that lie in one row group each: Arrow cannot join the dictionaries of two within lists."""
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(batch_size=rows, row_groups=[group])
