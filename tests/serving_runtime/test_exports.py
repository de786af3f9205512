"""Tables as other programs export them reach the model with the values that they have there."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd
import pytest

from serving_runtime.codec.media_type import MediaType
from serving_runtime.input.conform import conformer
from serving_runtime.protocols.mlflow.request import LEAST_CSV, read_request
from serving_runtime.signature import Column, Scalar, Signature

KINDS: Final = ("long", "double", "string", "boolean", "datetime")
SIGNATURE: Final = Signature(columns=tuple(Column(name=kind, type=Scalar(name=kind), required=True) for kind in KINDS))
FRAME: Final = pd.DataFrame(
    {
        "long": [1, 2**53 + 1],
        "double": [0.5, None],
        "string": ["a,b;c", 'say "\u00e9"\n'],
        "boolean": [True, False],
        "datetime": pd.to_datetime(["2024-01-31T12:30:45.123456", None]).as_unit("ns"),
    }
)


def conformed(body: bytes, media_type: str, signature: Signature = SIGNATURE) -> pd.DataFrame:
    data = conformer(signature)(read_request(body, media_type, signature)).data
    assert isinstance(data, pd.DataFrame)
    return data


def assert_has_the_values(found: pd.DataFrame, expected: pd.DataFrame = FRAME) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


OF_PANDAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "the defaults": {},
    "no index": {"index": False},
    "all in quotes": {"quoting": csv.QUOTE_ALL},
    "all but numbers in quotes": {"quoting": csv.QUOTE_NONNUMERIC},
    "NA": {"na_rep": "NA"},
    "NULL": {"na_rep": "NULL", "index": False},
    "lines of Windows": {"lineterminator": "\r\n"},
    "a byte order mark": {"encoding": "utf-8-sig"},
    "times of a zone": {"date_format": "%Y-%m-%dT%H:%M:%S.%fZ"},
    "floats of six digits": {"float_format": "%.6f"},
    "columns in another order": {"columns": ["datetime", "boolean", "string", "double", "long"]},
}


@pytest.mark.parametrize("times", [1, LEAST_CSV], ids=["cells", "columns"])
@pytest.mark.parametrize("name", OF_PANDAS)
def test_csv_of_pandas_has_the_values_of_its_frame(name: str, times: int) -> None:
    table = pd.concat([FRAME] * max(1, times // 50), ignore_index=True)
    written = io.BytesIO()
    table.to_csv(written, **OF_PANDAS[name])

    assert_has_the_values(conformed(written.getvalue(), MediaType.CSV), table)


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_json_of_pandas_has_the_values_of_its_frame(unit: str) -> None:
    options: Mapping[str, Any] = {"date_format": "iso", "date_unit": unit, "double_precision": 15}
    for orient, key in (("split", "dataframe_split"), ("records", "dataframe_records"), ("list", "inputs")):
        if orient == "list":
            records = json.loads(FRAME.to_json(orient="records", **options))
            document = {name: [record[name] for record in records] for name in FRAME}
        else:
            document = json.loads(FRAME.to_json(orient=orient, **options))  # type: ignore[call-overload]  # of a text

        assert_has_the_values(conformed(json.dumps({key: document}).encode(), MediaType.JSON))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"index": False},
        {"index": True},
        {"compression": "zstd"},
        {"compression": "brotli"},
        {"version": "1.0"},
        {"use_deprecated_int96_timestamps": True},
        {"use_dictionary": False, "data_page_version": "2.0"},
        {"row_group_size": 1},
    ],
    ids=str,
)
def test_parquet_of_pandas_has_the_values_of_its_frame(options: Mapping[str, Any]) -> None:
    assert_has_the_values(conformed(FRAME.to_parquet(**options), MediaType.PARQUET))


# A column of one cell: its type and the program's text.
TEXTS: Final[Mapping[str, tuple[str, str, Any]]] = {
    "R, a large double": ("long", '"","x"\n"1",1e+05\n', 100_000),
    "R, a logical": ("boolean", '"","x"\n"1",TRUE\n', True),
    "R, a missing number": ("double", '"","x"\n"1",NA\n', None),
    "a spreadsheet, empty columns": ("long", "x,,\n7,,\n", 7),
    "a spreadsheet, a byte order mark": ("long", "\ufeffx\r\n7\r\n", 7),
    "PostgreSQL, a boolean": ("boolean", "x\nt\n", True),
    "PostgreSQL, a time": ("datetime", "x\n2024-01-31 12:30:45.5+02\n", pd.Timestamp("2024-01-31T10:30:45.5")),
    "MySQL, a boolean": ("boolean", "x\n0\n", False),
    "SQL Server, a time": (
        "datetime",
        "x\n2024-01-31 12:30:45.5000000 +02:00\n",
        pd.Timestamp("2024-01-31T10:30:45.5"),
    ),
    "Snowflake, a time": ("datetime", "x\n2024-01-31 12:30:45.500 +0200\n", pd.Timestamp("2024-01-31T10:30:45.5")),
    "BigQuery, a time": ("datetime", "x\n2024-01-31 12:30:45.5 UTC\n", pd.Timestamp("2024-01-31T12:30:45.5")),
    "Spark, a time": ("datetime", "x\n2024-01-31T12:30:45.500Z\n", pd.Timestamp("2024-01-31T12:30:45.5")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_csv_of_another_program_has_its_value(name: str) -> None:
    kind, text, value = TEXTS[name]
    signature = Signature(columns=(Column(name="x", type=Scalar(name=kind), required=True),))

    found = conformed(text.encode(), MediaType.CSV, signature)["x"].tolist()

    assert [None if pd.isna(cell) else cell for cell in found] == [value]


# Types of DuckDB: an expression, and the signature's type and value.
OF_DUCKDB: Final[Mapping[str, tuple[str, Any]]] = {
    "1::HUGEINT": ("long", 1),
    "1::UBIGINT": ("long", 1),
    "1.5::DECIMAL(38, 10)": ("double", 1.5),
    "1.5::FLOAT": ("double", 1.5),
    "'x'::ENUM('x', 'y')": ("string", "x"),
    "'{}'::JSON": ("string", "{}"),
    "true": ("boolean", True),
    "DATE '2024-01-31'": ("datetime", pd.Timestamp("2024-01-31")),
    "TIMESTAMP_NS '2024-01-31 12:30:45.123456789'": ("datetime", pd.Timestamp("2024-01-31T12:30:45.123456789")),
    "TIMESTAMPTZ '2024-01-31 12:30:45+02'": ("datetime", pd.Timestamp("2024-01-31T10:30:45")),
}


@pytest.mark.parametrize("form", [MediaType.CSV, MediaType.PARQUET])
@pytest.mark.parametrize("expression", OF_DUCKDB)
def test_type_that_duckdb_exports_has_its_value(expression: str, form: MediaType, tmp_path: Path) -> None:
    kind, value = OF_DUCKDB[expression]
    signature = Signature(columns=(Column(name="x", type=Scalar(name=kind), required=True),))
    file = tmp_path / "exported"
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT {expression} AS x) TO '{file}' (FORMAT {form.name})")

    assert conformed(file.read_bytes(), form, signature)["x"].tolist() == [value]
