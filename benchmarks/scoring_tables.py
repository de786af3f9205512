"""Tables of the scoring benchmarks, as files of CSV, Parquet or JSON lines."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

COLUMNS: Final = [f"measure {number}" for number in range(11)]  # as benchmarks/save_model.py has them
SEED: Final = 7
BLOCK: Final = 1_000_000  # rows of a row group of a large file
TENSOR: Final = 28 * 28  # numbers of a picture
EMBEDDING: Final = 16  # numbers of a list
NULLS: Final = 0.1  # of the cells of a column that has some
MEMBERS: Final = 0.5


def write_doubles(path: Path, rows: int) -> None:
    _write(pd.DataFrame(_random().normal(size=(rows, len(COLUMNS))), columns=COLUMNS), path)


def write_many_doubles(path: Path, rows: int) -> None:
    """Write the same million rows again and again, which are too many for the memory."""
    values = _random().normal(size=(BLOCK, len(COLUMNS)))
    table = pa.table(dict(zip(COLUMNS, values.T, strict=True)))
    with parquet.ParquetWriter(path, table.schema) as writer:
        for before in range(0, rows, BLOCK):
            writer.write_table(table.slice(0, min(BLOCK, rows - before)))


def write_mixed(path: Path, rows: int) -> None:
    """Write texts with leading zeros, texts, dates, times, integers, doubles and booleans; three columns have nulls."""
    random = _random()
    cities = np.array(["Zürich", "New York", "Oslo", "São Paulo", "Lagos", None], dtype=object)
    start = np.datetime64("2024-01-01T00:00:00", "s")
    bought = pd.Series(start + random.integers(0, 31_536_000, rows).astype("timedelta64[s]"))
    frame = pd.DataFrame(
        {
            "code": [f"{number:08}" for number in random.integers(0, 10_000_000, rows)],
            "city": cities[random.integers(0, len(cities), rows)],
            "day": pd.Series(start + random.integers(0, 365, rows).astype("timedelta64[D]")),
            "bought": bought.mask(random.random(rows) < NULLS),
            "count": random.integers(1, 1000, rows),
            "price": pd.Series(random.normal(size=rows)).mask(random.random(rows) < NULLS),
            "member": random.random(rows) < MEMBERS,
        }
    )
    _write(frame, path)


def write_nested(path: Path, rows: int) -> None:
    random = _random()
    labels = [["red"], ["red", "dry"], []]
    frame = {
        "embedding": list(random.normal(size=(rows, EMBEDDING))),
        "tags": [labels[place] for place in random.integers(0, len(labels), rows)],
        "box": [{"width": width, "label": "a"} for width in random.normal(size=rows)],
    }
    _write_columns(frame, path)


def write_tensors(path: Path, rows: int) -> None:
    """Write a flat list of pixels for each picture."""
    pixels = _random().random(size=(rows, TENSOR), dtype=np.float32)
    _write_columns({"pixels": list(pixels)}, path)


def _random() -> np.random.Generator:
    return np.random.default_rng(SEED)


def _write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


def _write_columns(columns: dict[str, list[Any]], path: Path) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
        return
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n" for row in rows))
