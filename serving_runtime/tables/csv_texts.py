"""Columns of a block of CSV text as texts, read by Arrow."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyarrow import csv as arrow_csv

from serving_runtime.tables.csv_blocks import CsvBlock
from serving_runtime.tables.csv_columns import parse_options


def read_texts(names: Sequence[str], block: CsvBlock, wanted: Sequence[str]) -> Mapping[str, pa.Array] | None:
    """Return the `wanted` columns of a block that Arrow reads as the csv module does; None if they are not UTF-8."""
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(block.content),
            read_options=arrow_csv.ReadOptions(column_names=list(names)),
            parse_options=parse_options(block),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), include_columns=list(wanted), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return {name: table.column(name).combine_chunks() for name in wanted}
