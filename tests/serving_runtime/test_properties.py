"""The core answers or refuses every input; an input that it accepts is not changed."""

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_runtime.errors import ServingError
from serving_runtime.input.cells import CellError, convert, convert_base64
from serving_runtime.input.conform import conform
from serving_runtime.input.nested import DTYPES
from serving_runtime.input.params import conform_params
from serving_runtime.protocols.mlflow.request import read_request
from serving_runtime.signature import Anything, Array, Column, Map, Object, Param, Property, Scalar, Signature, Tensor

scalars = st.sampled_from([Scalar(name=name) for name in (*DTYPES, "binary")])
types = st.recursive(
    scalars | st.just(Anything()),
    lambda inner: st.one_of(
        st.builds(Array, items=inner),
        st.builds(Map, values=inner),
        st.builds(
            Object,
            properties=st.dictionaries(st.sampled_from("abc"), st.builds(Property, type=inner, required=st.booleans())),
        ),
    ),
    max_leaves=4,
)
names = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)
json_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)
tensor_dtypes = st.sampled_from(
    [np.dtype(name) for name in ("bool", "int8", "uint64", "float16", "float64", "str", "object", "datetime64[ns]")]
)
NUMBERS = "?hilBQefd"  # one letter for each type of numpy's, from booleans to doubles
# The first texts that are drawn take a second, in which a table of Unicode is made.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    params = draw(st.none() | st.builds(lambda kind: (Param(name="p", type=kind, is_list=False),), scalars))
    kind = draw(st.sampled_from(["columns", "unnamed", "tensors", "tensor", "nothing", "code"]))
    if kind in {"columns", "unnamed"}:
        columns = tuple(
            Column(name=name if kind == "columns" else None, type=draw(types), required=draw(st.booleans()))
            for name in draw(names)
        )
        return Signature(columns=columns, params=params)
    if kind in {"tensors", "tensor"}:
        shapes = st.lists(st.sampled_from([-1, 1, 2]), max_size=2).map(tuple)
        tensors = tuple(Tensor(name=name, dtype=draw(tensor_dtypes), shape=draw(shapes)) for name in draw(names))
        return Signature(
            tensors=(
                tensors if kind == "tensors" else (Tensor(name=None, dtype=tensors[0].dtype, shape=tensors[0].shape),)
            )
        )
    return Signature(params=params, typed_in_code=kind == "code")


bodies = st.dictionaries(
    st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params", "messages", "other"]),
    st.one_of(
        json_values,
        st.builds(
            lambda names, rows: {"columns": names, "data": rows},
            names,
            st.lists(st.lists(json_values, max_size=3), max_size=3),
        ),
        st.lists(st.dictionaries(st.sampled_from("abcd"), json_values, max_size=3), max_size=3),
    ),
    max_size=2,
)


@unhurried
@given(signature=signatures(), body=bodies)
def test_any_json_is_conformed_or_refused(signature: Signature, body: dict[str, Any]) -> None:
    try:
        request = read_request(json.dumps(body).encode(), "application/json", signature)
        conformed = conform(request.input, signature)
        conform_params(request.params, signature.params, request.params_path)
    except ServingError as error:
        assert error.status == 400
        return

    if isinstance(conformed, pd.DataFrame) and signature.named and signature.columns:
        assert set(conformed.columns) <= {column.name for column in signature.columns}


@unhurried
@given(
    signature=signatures(),
    body=st.binary(max_size=60) | st.text(alphabet='{}[]":,1e.-abn\\', max_size=60).map(str.encode),
)
def test_any_bytes_are_read_or_refused(signature: Signature, body: bytes) -> None:
    for content_type in ("application/json", "text/csv"):
        try:
            conform(read_request(body, content_type, signature).input, signature)
        except ServingError as error:
            assert error.status == 400


@unhurried
@given(
    values=st.lists(st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3), max_size=6),
    kind=st.sampled_from(NUMBERS),
)
def test_a_number_that_is_accepted_is_the_same_number(values: list[Any], kind: str) -> None:
    dtype = np.dtype(kind)
    try:
        converted = convert(values, dtype)
    except CellError as error:
        assert 0 <= error.index < len(values)
        return

    for value, number in zip(values, converted.tolist(), strict=True):
        if value is None:
            assert math.isnan(number)
        elif isinstance(value, float) and dtype.kind == "f":
            assert number == dtype.type(value) or math.isnan(
                value
            )  # rounded to the model's precision, as every float is
        else:
            assert number == value
            assert isinstance(value, bool) == (dtype.kind == "b")


@unhurried
@given(st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.timezones()))  # noqa: DTZ001  bounds have no zone
def test_a_time_that_is_accepted_is_the_same_moment(moment: datetime) -> None:
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        return  # RFC 3339 cannot write the offsets of local mean time

    converted = convert([moment.isoformat()], np.dtype("datetime64[ns]"))

    assert pd.Timestamp(converted[0]) == pd.Timestamp(moment.astimezone(UTC).replace(tzinfo=None))


@unhurried
@given(st.binary(max_size=80))
def test_bytes_that_are_accepted_are_the_same_bytes(content: bytes) -> None:
    lines = base64.encodebytes(content).decode()  # as MLflow writes them
    for text in (base64.b64encode(content).decode(), lines, lines.replace("\n", "\r\n")):
        assert convert_base64([text])[0] == content
