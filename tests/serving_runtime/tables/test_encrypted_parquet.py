"""Encrypted bodies of Parquet are refused. pyarrow ends the process if it is asked about an encrypted column."""

import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving_runtime.codec.parquet_body import read_parquet
from serving_runtime.codec.parquet_footer import read_footer
from serving_runtime.errors import MalformedRequestError
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables.bodies import parquet_table
from testbed.encrypted_parquet import encryption_of

TABLE = pa.table({"id": [1, 2], "pH": [3.5, 3.2], "tags": [["a"], None]})
SIGNATURE = Signature(columns=(Column(name="id", type=Scalar(name="long"), required=True),))
ENCRYPTED = "the Parquet file is encrypted"


def written(table: pa.Table, **options: object) -> bytes:
    body = io.BytesIO()
    parquet.write_table(table, body, **options)
    return body.getvalue()


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_encrypted_body_is_refused(plaintext_footer: bool) -> None:
    body = written(TABLE, encryption_properties=encryption_of("pH", plaintext_footer=plaintext_footer))

    with pytest.raises(MalformedRequestError, match=ENCRYPTED):
        read_parquet(body)
    with pytest.raises(MalformedRequestError, match=ENCRYPTED):
        parquet_table(body, SIGNATURE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 1, "write_page_index": True, "use_dictionary": False},
        {"bloom_filter_options": {"pH": True}, "sorting_columns": [parquet.SortingColumn(0)], "version": "1.0"},
        {"compression": "gzip", "write_page_checksum": True, "store_schema": False},
    ],
    ids=["as it is", "an index of pages", "other metadata", "compressed"],
)
@pytest.mark.parametrize("columns", [1, 40])
def test_body_that_is_not_encrypted_is_passed_over_to_its_end(columns: int, options: dict[str, object]) -> None:
    table = TABLE
    for number in range(columns):
        table = table.append_column(f"x{number}", pa.array([number, None]))

    assert not read_footer(written(table, **options)).encrypted


@pytest.mark.parametrize("cut", [20, 200])
def test_footer_that_is_cut_is_no_footer(cut: int) -> None:
    body = written(TABLE)
    length = int.from_bytes(body[-8:-4], "little") - cut

    with pytest.raises(ValueError):
        read_footer(body[: -8 - cut] + length.to_bytes(4, "little") + b"PAR1")
