"""`predict` for tables whose columns have types of their own."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

Run = Callable[..., Any]


def test_parquet_file_of_decimals_is_scored_and_its_wrong_row_is_named(run: Run, models: Path, tmp_path: Path) -> None:
    source, wrong = tmp_path / "rows.parquet", tmp_path / "wrong.parquet"
    names, form = ["fixed acidity", "pH", "alcohol"], pa.decimal128(20, 17)
    rows = [[Decimal("7.4"), Decimal("3.5"), Decimal("9.4")], [Decimal("6.3"), Decimal("3.2"), Decimal("9.1")]]
    parquet.write_table(pa.table([pa.array(column, form) for column in zip(*rows, strict=True)], names), source)
    rows[1][1] = Decimal("3.12345678901234567")
    parquet.write_table(pa.table([pa.array(column, form) for column in zip(*rows, strict=True)], names), wrong)
    doubles = "fixed acidity,pH,alcohol\n7.4,3.5,9.4\n6.3,3.2,9.1\n"

    scored = run("predict", "--model-path", models / "wine", source)
    refused = run("predict", "--model-path", models / "wine", wrong)

    assert (scored.code, scored.out) == (0, run("predict", "--model-path", models / "wine", stdin=doubles.encode()).out)
    assert (refused.code, refused.err.startswith('error: row 2: "pH": ')) == (3, True)
