"""The same input by any protocol is the same to the model and, when wrong, wrong for the same reason; and any bytes are
read or refused.
"""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.input.nested import DTYPES
from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Message, Protocol, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference.datatypes import DATATYPES, NUMPY, datatype_of, dtype_of
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from serving_runtime.signature import Column, Scalar, Signature, Tensor

LENGTH = b"inference-header-content-length"
unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)

right: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.none(),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    "string": st.text(max_size=3),
    "binary": st.sampled_from(["", "AQID", "aGk="]),
    "datetime": st.sampled_from(["2024-01-31", "2024-01-31T12:00:00Z", "1999-12-31T23:59:59+01:00"]),
}
wrong = st.sampled_from([None, True, 1, 1.5, -1, 2**40, 2**70, 1e300, "", "x", "7", "2024-13-01"])
dtypes = st.sampled_from([np.dtype(name) for name in ("bool", "int8", "uint64", "int64", "float32", "float64", "str")])


def seen(protocol: Protocol, signature: Signature, body: Any, headers: dict[bytes, bytes] | None = None) -> Any:
    """Return the input that the model would get, or the faults of the request."""
    served = ServedModel(
        name="m", version=None, metadata=SimpleNamespace(signature=signature), conform=conformer(signature)
    )  # type: ignore[arg-type]
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        return described(protocol.read(Message(body=sent, headers=headers or {}, path={"model": "m"}), served).data)
    except ServingError as error:
        assert error.status in {400, 415}
        return [error.status, [(fault.get("expected"), fault.get("got")) for fault in error.details]]


def described(data: Any) -> Any:
    match data:
        case pd.DataFrame():
            return [(str(data[name].dtype), repr(data[name].tolist())) for name in data.columns]
        case np.ndarray():
            return (str(data.dtype), data.shape, repr(data.tolist()))
        case dict():
            return {name: described(value) for name, value in data.items()}
        case _:
            return repr(data)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Signature, dict[str, list[Any]]]:
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(1, 3))
    kinds = {name: draw(st.sampled_from(sorted(right))) for name in names}
    optional = draw(st.booleans())
    columns = tuple(Column(name=name, type=Scalar(name=kind), required=not optional) for name, kind in kinds.items())
    cells = {
        name: draw(
            st.lists(right[kind] if draw(st.integers(0, 3)) else right[kind] | wrong, min_size=rows, max_size=rows)
        )
        for name, kind in kinds.items()
    }
    return Signature(columns=columns), cells


def head(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


@unhurried
@given(tables())
def test_named_columns_are_the_same_by_every_protocol(table: tuple[Signature, dict[str, list[Any]]]) -> None:
    signature, cells = table
    names, rows = list(cells), list(zip(*cells.values(), strict=True))
    records = [dict(zip(names, row, strict=True)) for row in rows]
    datatypes = {column.name: dtype_of(column.type) for column in signature.columns}
    heads = [
        head(name, "BYTES" if (dtype := datatypes[name]) is None else datatype_of(dtype), [len(rows)], values)
        for name, values in cells.items()
    ]

    expected = seen(INVOCATIONS, signature, {"dataframe_split": {"columns": names, "data": rows}})

    assert seen(INVOCATIONS, signature, {"dataframe_records": records}) == expected
    assert seen(INVOCATIONS, signature, {"inputs": cells}) == expected
    assert seen(KSERVE_V1, signature, {"instances": records}) == expected
    assert seen(DOMINO, signature, {"data": cells}) == expected
    assert seen(DOMINO, signature, {"parameters": [records]}) == expected
    assert seen(OPEN_INFERENCE, signature, {"inputs": heads}) == expected


@unhurried
@given(tables())
def test_columns_without_names_are_the_same_by_every_protocol(table: tuple[Signature, dict[str, list[Any]]]) -> None:
    named, cells = table
    signature = Signature(
        columns=tuple(Column(name=None, type=column.type, required=column.required) for column in named.columns)
    )
    rows = [list(row) for row in zip(*cells.values(), strict=True)]
    datatypes = [dtype_of(column.type) for column in signature.columns]
    heads = [
        head(f"input-{index}", "BYTES" if dtype is None else datatype_of(dtype), [len(rows)], values)
        for index, (dtype, values) in enumerate(zip(datatypes, cells.values(), strict=True))
    ]

    expected = seen(INVOCATIONS, signature, {"dataframe_split": {"data": rows}})

    assert seen(INVOCATIONS, signature, {"inputs": rows}) == expected
    assert seen(KSERVE_V1, signature, {"instances": rows}) == expected
    assert seen(DOMINO, signature, {"parameters": [rows]}) == expected
    assert seen(OPEN_INFERENCE, signature, {"inputs": heads}) == expected


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Signature, list[list[Any]]]:
    dtype = draw(dtypes)
    kind = {"b": "boolean", "i": "integer", "u": "integer", "f": "double", "U": "string"}[dtype.kind]
    values = right[kind] | wrong if draw(st.booleans()) else right[kind]
    rows = draw(st.lists(st.lists(values, min_size=2, max_size=2), min_size=1, max_size=3))
    return Signature(tensors=(Tensor(name=draw(st.sampled_from([None, "t"])), dtype=dtype, shape=(-1, 2)),)), rows


@unhurried
@given(tensors())
def test_a_tensor_is_the_same_by_every_protocol(tensor: tuple[Signature, list[list[Any]]]) -> None:
    signature, rows = tensor
    datatype, flat = datatype_of(signature.tensors[0].dtype), [value for row in rows for value in row]

    expected = seen(INVOCATIONS, signature, {"inputs": rows})

    assert seen(INVOCATIONS, signature, {"instances": rows}) == expected
    assert seen(KSERVE_V1, signature, {"instances": rows}) == expected
    assert seen(DOMINO, signature, {"parameters": [rows]}) == expected
    assert seen(OPEN_INFERENCE, signature, {"inputs": [head("t", datatype, [len(rows), 2], flat)]}) == expected
    assert seen(OPEN_INFERENCE, signature, {"inputs": [head("t", datatype, [len(rows), 2], rows)]}) == expected


@unhurried
@given(dtype=dtypes.filter(lambda dtype: dtype.kind != "U"), data=st.data())
def test_numbers_are_the_same_behind_the_json_as_in_it(dtype: np.dtype[Any], data: st.DataObject) -> None:
    signature = Signature(tensors=(Tensor(name=None, dtype=dtype, shape=(-1,)),))
    limits = None if dtype.kind in "bf" else np.iinfo(dtype)
    one = {
        "b": st.booleans(),
        "f": st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_infinity=False),  # type: ignore[arg-type]  # 32 or 64
    }.get(dtype.kind) if limits is None else st.integers(int(limits.min), int(limits.max))  # fmt: skip
    assert one is not None
    values = data.draw(st.lists(one, max_size=5))
    raw = np.array(values, dtype=dtype).tobytes()
    entry = {"name": "t", "datatype": datatype_of(dtype), "shape": [len(values)]}
    document = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": len(raw)}}]}).encode()

    behind = seen(OPEN_INFERENCE, signature, document + raw, {LENGTH: b"%d" % len(document)})

    assert behind == seen(OPEN_INFERENCE, signature, {"inputs": [entry | {"data": values}]})


sizes = st.integers(-2, 40) | st.sampled_from([None, True, 1.0, "8", 2**63, 2**70])
shapes = st.lists(st.integers(-1, 5) | st.sampled_from([2**62, 1.0, None, True]), max_size=3) | st.none()
entries = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "t", "", 7, None]),
        "datatype": st.sampled_from([*DATATYPES, "XX", None]),
        "shape": shapes,
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": sizes, "content_type": st.sampled_from(["pd_json", "np", 7])}
        ),
        "data": st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2), max_size=5),
    },
)
takes = st.sampled_from(
    [
        Signature(),
        Signature(typed_in_code=True),
        Signature(
            columns=tuple(
                Column(name=name, type=Scalar(name=kind), required=True)
                for name, kind in zip("ab", DTYPES, strict=False)
            )
        ),
        Signature(
            columns=tuple(Column(name=None, type=Scalar(name=kind), required=True) for kind in ("binary", "double"))
        ),
        Signature(tensors=(Tensor(name=None, dtype=np.dtype("float32"), shape=(-1, 2)),)),
        Signature(tensors=tuple(Tensor(name=name, dtype=np.dtype("int64"), shape=(-1,)) for name in "ab")),
    ]
)


@settings(unhurried, max_examples=400)
@given(
    signature=takes,
    tensors=st.lists(entries, max_size=3),
    tail=st.binary(max_size=40),
    length=st.none() | st.integers(-3, 300) | st.sampled_from(["", "x", "٢", "1e3"]),
)
def test_random_tensors_are_read_or_refused(signature: Signature, tensors: list[Any], tail: bytes, length: Any) -> None:
    document = json.dumps({"inputs": tensors}).encode()
    told = len(document) if length is None else length

    seen(OPEN_INFERENCE, signature, document + tail, {LENGTH: str(told).encode()})


@st.composite
def almost_right(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A right body with a few bytes of it changed, cut out or put in, and a header that is right or not."""
    datatype = draw(st.sampled_from(DATATYPES))
    raw = b"\3\0\0\0abc\0\0\0\0" if datatype == "BYTES" else bytes(2 * NUMPY[datatype].itemsize)
    document = json.dumps(
        {"inputs": [{"name": "a", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}]}
    )
    body = bytearray(document.encode() + raw)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body) - 1))
        change: Callable[[], None] = draw(
            st.sampled_from(
                [
                    lambda at=at: body.__setitem__(at, draw(st.integers(0, 255))),
                    lambda at=at: body.__delitem__(at),
                    lambda at=at: body.insert(at, draw(st.integers(0, 255))),
                ]
            )
        )
        change()
    return bytes(body), b"%d" % (len(document) + draw(st.sampled_from([0, 0, 0, -1, 1, 4])))


@settings(unhurried, max_examples=400)
@given(signature=takes, request=almost_right())
def test_body_with_random_changes_is_read_or_refused(signature: Signature, request: tuple[bytes, bytes]) -> None:
    body, length = request

    seen(OPEN_INFERENCE, signature, body, {LENGTH: length})


document_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@unhurried
@given(
    signature=takes,
    body=st.dictionaries(st.sampled_from(["data", "parameters", "instances", "inputs", "params"]), document_values),
)
def test_random_envelope_is_read_or_refused(signature: Signature, body: dict[str, Any]) -> None:
    for protocol in (KSERVE_V1, DOMINO, OPEN_INFERENCE):
        seen(protocol, signature, body)
