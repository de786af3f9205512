"""A DataFrame that came with its types, as the values that a request would have brought."""

from typing import Any

import pandas as pd

from serving_runtime.input.nested import member
from serving_runtime.input.table import Table


def as_table(frame: pd.DataFrame) -> Table:
    return Table(
        columns={name: _values(frame[name]) for name in frame.columns},
        rows=len(frame),
        path="frame",
        place=lambda key, row: f"{member('frame', key)}[{row}]",
        index=None if isinstance(frame.index, pd.RangeIndex) else frame.index.tolist(),
        named=True,
    )


def _values(column: "pd.Series[Any]") -> list[Any]:
    if column.dtype.kind == "M":
        return [None if pd.isna(moment) else moment.isoformat() for moment in column]
    return [None if cell is pd.NA or cell is pd.NaT else cell for cell in column.tolist()]
