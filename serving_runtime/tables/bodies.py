"""Bodies of requests as tables of whole columns: CSV, Parquet and Arrow's stream."""

import io
import json
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pyarrow as pa

from serving_runtime.codec.delimited import PATH as CSV
from serving_runtime.codec.parquet_body import check_growth
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.request import TypedFrame
from serving_runtime.input.table import Key, Table
from serving_runtime.signature import Signature
from serving_runtime.tables.arrow_stream import read_stream
from serving_runtime.tables.arrow_tables import decoded, known_names, of_columns
from serving_runtime.tables.csv_blocks import read_csv_blocks
from serving_runtime.tables.csv_columns import read_block
from serving_runtime.tables.parquet_files import open_parquet

PARQUET: Final = "parquet"
ARROW: Final = "arrow"


def csv_table(body: bytes, signature: Signature) -> Table | None:
    """Return the table of a CSV; None if `codec.delimited` must read each cell alone, and name a wrong one."""
    with suppress(MalformedRequestError):
        header, *blocks = read_csv_blocks(io.BytesIO(body))
        batches = []
        for block in blocks if header.sound else ():
            batch = read_block(header, block, signature)
            if batch is None:
                return None
            batches.append(batch)
        if batches:
            return _table(pa.Table.from_batches(batches), signature, CSV)
    return None


def parquet_table(body: bytes, signature: Signature) -> Table:
    """Return the table of a Parquet file, with the index that pandas has written. Raises MalformedRequestError."""
    try:
        check_growth(body)
        table = open_parquet(pa.BufferReader(body)).read(use_threads=False)
        return replace(_table(table, signature, PARQUET), index=_index(table))
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        raise MalformedRequestError(
            f"the body is no Parquet file that Arrow can read ({type(error).__name__})"
        ) from error


def arrow_table(body: bytes, signature: Signature) -> Table:
    """Return the table of an Arrow stream. Raises MalformedRequestError."""
    table = read_stream(body)
    try:
        return _table(table, signature, ARROW)
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise MalformedRequestError(
            f"the body is an Arrow stream with values that cannot be read ({type(error).__name__})"
        ) from error


def arrow_frame(body: bytes) -> TypedFrame:
    """Return the frame that pandas makes of an Arrow stream. Raises MalformedRequestError."""
    table = read_stream(body)
    _check_names(table.column_names)
    try:
        return TypedFrame(frame=table.to_pandas())
    except Exception as error:  # of many kinds, and not only Arrow's
        raise MalformedRequestError(
            f"the body is an Arrow stream that pandas cannot read ({type(error).__name__})"
        ) from error


def _table(table: pa.Table, signature: Signature, path: str) -> Table:
    """Raises MalformedRequestError."""
    names = table.column_names
    _check_names(names)
    columns = {name: _joined(table.column(name)) for name in known_names(names, signature)}
    return of_columns(columns, table.num_rows, signature, path=path, place=partial(_place, path))


def _check_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise MalformedRequestError("the body has two columns of the same name")


def _joined(column: pa.ChunkedArray) -> pa.Array:
    """Return the chunks of a column as one array, of the values if it is a dictionary."""
    chunks = list(map(decoded, column.chunks))
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.null())


def _place(path: str, name: Key, row: int) -> str:
    return f'{path}[{row}]["{name}"]'


def _index(table: pa.Table) -> Any:
    """Return the index of the frame that pandas has written; None if it counts the rows from 0, or there is none.

    Its columns may have been removed since. Raises MalformedRequestError.
    """
    try:
        described: Any = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        indexes = described.get("index_columns", [])
        if all(isinstance(index, dict) and (index.get("start"), index.get("step")) == (0, 1) for index in indexes):
            return None
        return table.select([name for name in table.column_names if name in indexes]).to_pandas().index
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedRequestError(
            f"the Parquet file has metadata that pandas cannot read ({type(error).__name__}); write it anew"
        ) from error
