"""A body read by whole columns gives what reading it cell by cell gives: the same values, or the same faults."""

import io
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from serving_runtime.codec.delimited import read_csv
from serving_runtime.errors import InvalidInputError, MalformedRequestError, ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.input.conform_plan import ConformPlan, Matrix
from serving_runtime.input.request import Request
from serving_runtime.input.table import Table
from serving_runtime.protocols.mlflow.request import read_request
from serving_runtime.signature import Anything, Array, Column, Map, Object, Property, Scalar, Signature, Type
from serving_runtime.tables.arrow_stream import FEW_BATCHES
from serving_runtime.tables.arrow_tables import NO_VALUE, table_request
from serving_runtime.tables.bodies import arrow_frame, arrow_table, csv_table, parquet_table
from tests.serving_runtime.tables.conftest import EXAMPLES
from tests.serving_runtime.tables.test_same_as_cells import tables

KINDS: Mapping[str, Type] = {
    **{kind: Scalar(name=kind) for kind in ("boolean", "integer", "long", "float", "double", "string", "datetime")},
    "array": Array(items=Scalar(name="long")),
    "object": Object(properties={"x": Property(type=Scalar(name="double"), required=True)}),
    "map": Map(values=Scalar(name="long")),
}
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.sampled_from([2**53 + 1, 2**31, 2**24 + 1])
)
REALS = st.one_of(
    st.floats(allow_infinity=False),
    st.sampled_from([1.0, 2.5, 1e300, 2.0**60]),
    st.floats(width=32, allow_infinity=False),
)
TIMES = st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(2300, 1, 1))  # noqa: DTZ001  Arrow's have none
TEXTS = st.sampled_from(["", "NA", "a", "ä", "x" * 30, "2024-01-31", "5"])
# Types that a writer may give a column, and values for each.
COLUMNS: tuple[tuple[pa.DataType, st.SearchStrategy[Any]], ...] = (
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), NUMBERS),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32, allow_infinity=False)),
    (pa.float64(), REALS),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.dictionary(pa.int8(), pa.int64()), st.integers(-3, 3)),
    (pa.timestamp("us"), TIMES),
    (pa.timestamp("ms", "Europe/Berlin"), TIMES),
    (pa.timestamp("s", "UTC"), TIMES),
    (pa.date32(), st.dates(min_value=date(1600, 1, 1), max_value=date(2300, 1, 1))),
    (pa.list_(pa.int64()), st.lists(st.one_of(st.none(), NUMBERS), max_size=2)),
    (pa.struct([("x", pa.float64())]), st.fixed_dictionaries({"x": REALS})),
    (
        pa.map_(pa.string(), pa.int64()),
        st.dictionaries(TEXTS, NUMBERS, max_size=2).map(lambda value: list(value.items())),
    ),
)  # fmt: skip  one line a type
NOT_IN_PARQUET = {pa.string_view(), pa.dictionary(pa.int8(), pa.int64())}


def stream(table: pa.Table, *, size: int | None = None, compression: str | None = None) -> bytes:
    written = pa.BufferOutputStream()
    with ipc.new_stream(written, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=size)
    return bytes(written.getvalue())


def parquet_file(table: pa.Table) -> bytes:
    written = io.BytesIO()
    parquet.write_table(table, written)
    return written.getvalue()


def as_json(value: Any) -> Any:
    match value:
        case dict():
            return {name: as_json(item) for name, item in value.items()}
        case list():
            return list(map(as_json, value))
        case datetime() if value.tzinfo:
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case _:
            return value


def by_cells(table: pa.Table, path: str) -> Table:
    return Table(
        columns={
            name: [as_json(value) for value in column.to_pylist(maps_as_pydicts="strict")]
            for name, column in zip(table.column_names, table.columns, strict=True)
        },
        rows=table.num_rows,
        path=path,
        place=lambda name, row: f'{path}[{row}]["{name}"]',
    )


def outcome(table: Any, signature: Signature, *, fast: bool = False) -> Any:
    """Return the frame, or the faults."""
    general = conformer(signature)
    conform = ConformPlan(signature, general).conform if fast else general
    try:
        data = conform(Request(input=table)).data
    except InvalidInputError as error:
        return error.details
    return data if isinstance(data, pd.DataFrame) else data.frame


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert isinstance(found, list), found
        assert found == expected
    else:
        assert isinstance(found, pd.DataFrame), found
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_column_type=False)


@st.composite
def arrow_columns(draw: st.DrawFn) -> tuple[pa.Table, Signature]:
    rows = draw(st.integers(0, 5))
    columns, kinds = {}, []
    for place in range(draw(st.integers(1, 3))):
        kind, values = draw(st.sampled_from(COLUMNS))
        cells = draw(st.lists(st.one_of(values, values, st.none()), min_size=rows, max_size=rows))
        try:
            columns[f"c{place}"] = pa.array(cells, kind)
        except pa.ArrowNotImplementedError:
            columns[f"c{place}"] = pa.array(cells, kind.value_type).cast(kind)
        kinds.append(draw(st.sampled_from(list(KINDS.values()))))
    required = draw(st.booleans())
    signature = Signature(
        columns=tuple(Column(name=f"c{place}", type=kind, required=required) for place, kind in enumerate(kinds))
    )
    return pa.table(columns), signature


@given(arrow_columns(), st.sampled_from([None, 1, 2]), st.sampled_from([None, "lz4", "zstd"]))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_arrow_stream_has_the_values_or_the_faults_of_its_cells(
    columns: tuple[pa.Table, Signature], size: int | None, compression: str | None
) -> None:
    table, signature = columns
    read = arrow_table(stream(table, size=size, compression=compression), signature)
    expected = outcome(by_cells(table, "arrow"), signature)

    assert_same(outcome(read, signature), expected)
    assert_same(outcome(read, signature, fast=True), expected)


@given(arrow_columns())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_parquet_has_the_values_or_the_faults_of_its_cells(columns: tuple[pa.Table, Signature]) -> None:
    table, signature = columns
    if NOT_IN_PARQUET & set(table.schema.types):
        return
    body = parquet_file(table)
    written = parquet.read_table(io.BytesIO(body))
    read = parquet_table(body, signature)

    assert_same(outcome(read, signature, fast=True), outcome(by_cells(written, "parquet"), signature))


def test_arrow_with_a_name_that_comes_twice_is_refused_for_a_model_without_a_signature_too() -> None:
    with pytest.raises(MalformedRequestError, match="two columns of the same name"):
        arrow_frame(DAMAGED["a name that comes twice"][0])


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("numbers", [[np.nan], [np.nan, 1.0], [np.nan, 2.5, None]], ids=str)
@pytest.mark.parametrize("width", [pa.float32(), pa.float64()], ids=str)
def test_nan_of_any_column_is_what_it_is_in_its_cells(
    kind: str, required: bool, numbers: list[float | None], width: pa.DataType
) -> None:
    table = pa.table({"c0": pa.array(numbers, width, from_pandas=False)})
    signature = Signature(columns=(Column(name="c0", type=KINDS[kind], required=required),))
    expected = outcome(by_cells(table, "arrow"), signature)
    read = arrow_table(stream(table), signature)

    assert_same(outcome(read, signature), expected)
    assert_same(outcome(read, signature, fast=True), expected)


@given(tables())
@settings(max_examples=EXAMPLES, deadline=None)
def test_csv_has_the_values_or_the_faults_of_its_cells(table: tuple[bytes, Signature]) -> None:
    text, signature = table
    found = csv_table(text, signature)
    if found is not None:
        assert_same(outcome(found, signature, fast=True), outcome(read_csv(text, signature), signature))


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=EXAMPLES, deadline=None)
def test_bytes_that_are_no_csv_are_refused_alike(rest: bytes, required: bool) -> None:
    signature = Signature(
        columns=(
            Column(name="a", type=Scalar(name="long"), required=required),
            Column(name="b", type=Scalar(name="string"), required=required),
        )
    )
    body = b"a,b,c\n1,x,z\n" + rest
    try:
        expected = outcome(read_csv(body, signature), signature)
    except ServingError:
        assert csv_table(body, signature) is None
        return
    found = csv_table(body, signature)
    if found is not None:
        assert_same(outcome(found, signature), expected)


LONGS = Signature(columns=(Column(name="a", type=Scalar(name="long"), required=True),))
DOUBLES = Signature(columns=tuple(Column(name=n, type=Scalar(name="double"), required=True) for n in "ab"))


def test_columns_are_found_by_name_and_others_are_left_out() -> None:
    table = pa.table({"b": [2.0], "more": [[1]], "a": [1.0]})
    read = read_request(stream(table), "application/vnd.apache.arrow.stream", DOUBLES).input

    data = ConformPlan(DOUBLES, conformer(DOUBLES)).conform(Request(input=read)).data

    assert isinstance(data, Matrix)
    assert data.rows.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("writer", [stream, parquet_file], ids=["arrow", "parquet"])
def test_infinity_of_a_double_is_a_number_there(writer: Any) -> None:
    body = writer(pa.table({"a": [np.inf], "b": [1.0]}))

    found = arrow_table(body, DOUBLES) if writer is stream else parquet_table(body, DOUBLES)

    assert outcome(found, DOUBLES)["a"].tolist() == [np.inf]


INDEXES: Mapping[str, Any] = {
    "rows of a larger frame": [7, 3],
    "texts": pd.Index(["x", "y"], name="id"),
    "times": pd.date_range("2024-01-31", periods=2, tz="Europe/Berlin", name="day"),
    "a range": pd.RangeIndex(1, 5, 2),
    "levels": pd.MultiIndex.from_tuples([(1, "a"), (2, None)], names=["number", None]),
}
# What people's frames have, and the type of the signature.
FRAMES: Mapping[str, tuple[str, Any]] = {
    "texts with a missing one": ("string", ["a", None]),
    "texts of pandas' own type": ("string", pd.array(["a", None], dtype="string")),
    "categories": ("string", pd.Categorical(["a", None])),
    "doubles of pandas' own type": ("double", pd.array([0.5, None], dtype="Float64")),
    "decimals": ("double", [Decimal("0.5"), None]),
    "whole numbers of pandas' own type": ("long", pd.array([1, 2**53 + 1], dtype="Int64")),
    "times of a zone": ("datetime", pd.to_datetime(["2024-01-31T12:00+01:00", None])),
    "dates": ("datetime", [date(2024, 1, 31), None]),
    "bytes": ("binary", [b"a", None]),
}


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("name", FRAMES)
def test_parquet_with_an_index_has_the_columns_of_one_without_it(name: str, index: str) -> None:
    kind, cells = FRAMES[name]
    signature = Signature(columns=(Column(name="a", type=Scalar(name=kind), required=False),))
    frame = pd.DataFrame({"a": cells})

    found = outcome(parquet_table(frame.set_axis(INDEXES[index]).to_parquet(), signature), signature, fast=True)

    expected = outcome(parquet_table(frame.to_parquet(), signature), signature)
    assert len(expected) == 2
    pd.testing.assert_frame_equal(found, expected.set_axis(INDEXES[index]), check_freq=False, check_index_type=False)


def test_parquet_whose_index_was_removed_is_read() -> None:
    table = pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}, index=["x", "y"])).select(["a"])

    assert outcome(parquet_table(parquet_file(table), LONGS), LONGS)["a"].tolist() == [1, 2]


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"index_columns": 1}'])
def test_metadata_that_pandas_did_not_write_are_refused(metadata: bytes) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({b"pandas": metadata})

    with pytest.raises(MalformedRequestError, match="metadata that pandas cannot read"):
        parquet_table(parquet_file(table), LONGS)


def stream_of_months() -> bytes:
    """Return a stream with an interval of months, a type that Arrow for Java has and pyarrow cannot make."""
    body = bytearray(stream(pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})))
    body[118] = 0  # the unit of the interval in the schema
    assert str(pa.ipc.open_stream(bytes(body)).schema.field("a").type) == "month_interval"
    return bytes(body)


def stream_of_an_old_compression() -> bytes:
    """Return a stream that Arrow decompresses, though no field of its batch says that it is compressed."""
    batch, written = pa.record_batch({"a": [1]}), pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(metadata_version=ipc.MetadataVersion.V4)
    with ipc.new_stream(written, batch.schema, options=options) as writer:
        writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "zstd"})
    return bytes(written.getvalue())


DAMAGED: Mapping[str, tuple[bytes, str]] = {
    "no bytes": (b"", "no end"),
    "no end": (stream(pa.table({"a": [1]}))[:-8], "no end"),
    "a cut batch": (stream(pa.table({"a": [1] * 100}))[:-100], "a damaged one"),
    "two streams": (stream(pa.table({"a": [1]})) * 2, "something after the end"),
    "no stream": (b"PAR1" * 100, "no Arrow stream"),
    "a name that comes twice": (stream(pa.table([[1], [2]], names=["a", "a"])), "two columns of the same name"),
    "runs": (stream(pa.table({"a": pa.RunEndEncodedArray.from_arrays([9], [1])})), '"a" has the Arrow type run_end'),
    "list views": (
        stream(pa.table({"a": pa.array([[1]], pa.list_view(pa.int64()))})),
        '"a" has the Arrow type list_view',
    ),
    "an interval of months": (stream_of_months(), '"a" has the Arrow type month_interval'),
    "compressed zeros": (stream(pa.table({"a": np.zeros(5_000_000)}), compression="zstd"), "100 times as large"),
    "an old compression": (stream_of_an_old_compression(), "as by Arrow 0.17"),
    "nulls": (stream(pa.table({"a": pa.nulls(5_000_000)})), "100 times as large"),
    "one long text of a dictionary": (
        stream(pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int32), ["x" * 50_000])})),
        "100 times as large",
    ),
    "one long text of views": (
        stream(
            pa.table(
                {
                    "a": pa.Array.from_buffers(
                        pa.string_view(),
                        20_000,
                        [
                            None,
                            pa.py_buffer(bytes(pa.array(["x" * 50_000], pa.string_view()).buffers()[1]) * 20_000),
                            pa.py_buffer(b"x" * 50_000),
                        ],
                    )
                }
            )
        ),
        "100 times as large",
    ),
    "empty batches": (stream(pa.table({"a": [1] * (FEW_BATCHES + 1000)}), size=1), "too many batches"),
}  # fmt: skip  one entry a line


@pytest.mark.parametrize("name", DAMAGED)
def test_a_stream_that_is_damaged_or_too_much_work_is_refused(name: str) -> None:
    body, problem = DAMAGED[name]

    with pytest.raises(MalformedRequestError, match=problem):
        read_request(body, "application/vnd.apache.arrow.stream", LONGS)


@given(st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_changed_stream_is_read_or_refused(data: st.DataObject) -> None:
    table = pa.table(
        {
            "a": [1, 2],
            "b": pa.array(["x", "y"]).dictionary_encode(),
            "c": [[1], [2]],
            "d": pa.array(["a" * 20, None], pa.string_view()),
        }
    )
    body = bytearray(stream(table, compression=data.draw(st.sampled_from([None, "zstd"]))))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    try:
        outcome(read_request(bytes(body), "application/vnd.apache.arrow.stream", LONGS).input, LONGS)
    except ServingError as error:
        assert error.status == 400


def test_deltas_and_other_dictionaries_of_later_batches_are_read() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    texts = Signature(columns=(Column(name="a", type=Scalar(name="string"), required=True),))
    for emit in (True, False):
        written = pa.BufferOutputStream()
        schema = pa.schema([("a", kind)])
        with ipc.new_stream(written, schema, options=ipc.IpcWriteOptions(emit_dictionary_deltas=emit)) as writer:
            for words in (["x"], ["x", "y"]):
                column = pa.DictionaryArray.from_arrays(pa.array([len(words) - 1], pa.int32()), words)
                writer.write_batch(pa.record_batch([column], schema=schema))

        found = outcome(arrow_table(bytes(written.getvalue()), texts), texts)

        assert found["a"].tolist() == ["x", "y"]


def test_dictionaries_of_views_as_polars_writes_categories_are_texts() -> None:
    texts = Signature(columns=(Column(name="a", type=Scalar(name="string"), required=False),))
    column = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint32()), pa.array(["x", "y"], pa.string_view()))
    table = pa.table({"a": column})
    expected = outcome(by_cells(pa.table({"a": ["y", None, "x"]}), "table"), texts)

    assert_same(outcome(arrow_table(stream(table), texts), texts), expected)
    assert_same(outcome(table_request(table.to_batches()[0], texts).input, texts), expected)


def in_parquet(table: pa.Table, *, int96: bool = False) -> bytes:
    written = io.BytesIO()
    parquet.write_table(table, written, use_deprecated_int96_timestamps=int96)
    return written.getvalue()


def test_times_of_sparks_older_type_are_the_same_moments_or_refused() -> None:
    times = Signature(columns=(Column(name="a", type=Scalar(name="datetime"), required=True),))
    exact = np.array(["2024-01-31T12:00:00.123456789"], "M8[ns]")
    far = np.array(["2024-01-31", "9999-12-31"], "M8[us]")

    found = outcome(parquet_table(in_parquet(pa.table({"a": exact}), int96=True), times), times)
    refused = outcome(parquet_table(in_parquet(pa.table({"a": far}), int96=True), times), times)

    assert found["a"].tolist() == [pd.Timestamp(exact[0])]
    assert [fault["path"] for fault in refused] == ['parquet[1]["a"]']
    lists = pa.table({"a": [1], "b": pa.array([far], pa.list_(pa.timestamp("us")))})
    assert outcome(parquet_table(in_parquet(lists, int96=True), LONGS), LONGS)["a"].tolist() == [1]


NO_VALUES = {
    "a time after the year 9999": pa.array([0, 2**40, None], pa.timestamp("s")),
    "a time of an unknown zone": pa.array([None, 0, None], pa.timestamp("us", "Mars/Phobos")),
    "a map with a key that comes twice": pa.array(
        [[("a", 1)], [("a", 1), ("a", 2)], None], pa.map_(pa.string(), pa.int64())
    ),
}


@pytest.mark.parametrize("kind", ["double", "string", "map", "any"])
@pytest.mark.parametrize("name", NO_VALUES)
def test_value_that_python_does_not_have_is_refused_at_its_place(name: str, kind: str) -> None:
    signature = Signature(columns=(Column(name="x", type=KINDS.get(kind, Anything()), required=False),))
    table = pa.table({"x": NO_VALUES[name]})
    ways = {
        "arrow": lambda: Request(input=arrow_table(stream(table), signature)),
        "parquet": lambda: Request(input=parquet_table(in_parquet(table), signature)),
        "table": lambda: table_request(table.to_batches()[0], signature),
    }

    for path, request in ways.items():
        with pytest.raises(InvalidInputError) as raised:
            conformer(signature)(request())
        (fault,) = raised.value.details
        assert (fault["path"], fault["problem"]) == (f'{path}[1]["x"]', NO_VALUE), name
