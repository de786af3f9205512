"""Parquet bodies, as pandas reads them, and the limit on their decompressed size."""

import io
from typing import TYPE_CHECKING, Final

import pandas as pd

from serving_runtime.codec.decompressed_size import CELL, MOST_GROWTH, decompressed_limit
from serving_runtime.codec.parquet_footer import ENCRYPTED_FOOTER, footer_length, has_encrypted_columns
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.request import TypedFrame

if TYPE_CHECKING:
    import pyarrow.parquet as pq

LARGEST_BATCH: Final = 1 << 16  # rows
# A column costs pyarrow and pandas some 90 KB, cells or none.
MOST_COLUMNS: Final = 2000
MOST_CHUNKS: Final = 20_000  # of a column in a row group: to look at each takes 20 us
LARGEST_FOOTER: Final = 8 << 20  # bytes


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


def _check_footer(body: bytes, footer: "pq.FileMetaData") -> None:
    """Raise MalformedRequestError for a footer that takes seconds to read: each of its values is looked at."""
    if footer.num_columns > MOST_COLUMNS:
        raise MalformedRequestError(f"the Parquet file has more than {MOST_COLUMNS} columns; send fewer")
    if footer.num_columns * footer.num_row_groups > MOST_CHUNKS or footer_length(body) > LARGEST_FOOTER:
        raise MalformedRequestError("the Parquet file has too many row groups; write it with more rows in each")


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

    allowed = decompressed_limit(len(body))
    file = None if body.endswith(ENCRYPTED_FOOTER) else pq.ParquetFile(io.BytesIO(body))
    if file is not None:
        _check_footer(body, file.metadata)
    if file is None or has_encrypted_columns(body):
        raise MalformedRequestError("the Parquet file is encrypted, and the server has no keys; send it unencrypted")
    widths, unknown, chunks, cells = file.metadata, False, 0, 0
    for group in range(widths.num_row_groups):
        for number in range(widths.num_columns):
            chunk = widths.row_group(group).column(number)
            unknown = unknown or chunk.physical_type in {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}
            chunks += max(0, chunk.total_uncompressed_size)
            cells += max(0, chunk.num_values)
    size = max(chunks, CELL * cells)
    if unknown and size <= allowed:
        # Each cell of a text may be as long as a whole chunk: a batch of so few rows holds no more than is allowed.
        size = 0
        for batch in file.iter_batches(batch_size=max(1, min(LARGEST_BATCH, allowed // max(1, chunks)))):
            size += batch.nbytes
            if size > allowed:
                break
        pa.default_memory_pool().release_unused()
    if size > allowed:
        raise MalformedRequestError(
            f"the Parquet file is more than {MOST_GROWTH} times as large once decompressed; send fewer rows at a time"
        )
