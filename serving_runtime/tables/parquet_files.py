"""Opening of a Parquet file for readers of whole columns."""

from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

INT96: Final = "INT96"  # Spark's type of a time until its version 4


def open_parquet(source: Any, **options: Any) -> parquet.ParquetFile:
    """Open a file whose times of INT96 are read in nanoseconds; in microseconds if a time is beyond those of 64 bits.

    Arrow reads such a time, as the year 9999 of many tables, as one of another century.
    """
    file = parquet.ParquetFile(source, **options)
    leaves = (file.schema.column(place) for place in range(len(file.schema)))
    names = [leaf.path for leaf in leaves if leaf.physical_type == INT96]
    if not names:
        return file
    coarse = parquet.ParquetFile(source, metadata=file.metadata, coerce_int96_timestamp_unit="us", **options)
    return file if _in_range(coarse, names) else coarse


def _in_range(file: parquet.ParquetFile, names: list[str]) -> bool:
    try:
        for batch in file.iter_batches(columns=names):
            for column in batch.columns:
                column.cast(pa.timestamp("ns"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the second is of times within lists and objects
        return False
    return True
