"""Every kind of value that a model may return is the same by every protocol, or is refused by all with a sentence that
says its kind.
"""

import datetime
import decimal
import enum
import json
import math
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16, int4
from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj
from pydantic import BaseModel
from scipy import sparse
from tritonclient.http import InferResult

from serving_runtime.codec.encode import dumps
from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.options import Nan
from serving_runtime.prediction.warm_up import same, split
from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Answer, Message, Prediction, Protocol, Refusal, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference.outputs import outputs_of
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from serving_runtime.signature import Signature

SERVED = ServedModel(
    name="m", version=None, metadata=SimpleNamespace(signature=Signature()), conform=conformer(Signature())
)  # type: ignore[arg-type]
TENSOR = {"name": "x", "datatype": "INT64", "shape": [1], "data": [1]}
BY_MLFLOW, BY_KSERVE, BY_DOMINO = (
    (INVOCATIONS, {"inputs": [1]}),
    (KSERVE_V1, {"instances": [1]}),
    (DOMINO, {"data": {"x": 1}}),
)
IN_JSON = (OPEN_INFERENCE, {"inputs": [TENSOR]})
BEHIND = (OPEN_INFERENCE, {"inputs": [TENSOR], "parameters": {"binary_data_output": True}})
LENGTH = b"inference-header-content-length"

Pair = namedtuple("Pair", "a b")


@dataclass
class Score:
    value: float = 0.5
    _unit: str = "kg"


class Answered(BaseModel):
    at: datetime.datetime = datetime.datetime(2024, 1, 31)  # noqa: DTZ001  as models have it
    values: list[float] = [1.5]


class Color(enum.Enum):
    RED = "r"


class Word(enum.StrEnum):
    YES = "yes"


class Tensor:
    """A tensor as torch's: with a gradient, and in some types, numpy cannot read it."""

    def __init__(self, values: Any, dtype: str = "torch.float32", *, gradient: bool = True) -> None:
        self.values, self.dtype, self.gradient = values, dtype, gradient

    def detach(self) -> "Tensor":
        return Tensor(self.values, self.dtype, gradient=False)

    def cpu(self) -> "Tensor":
        return self

    def float(self) -> "Tensor":
        return Tensor(self.values, gradient=self.gradient)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.gradient or self.dtype == "torch.bfloat16":
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return np.array(self.values, dtype=np.float32)


def written(way: tuple[Protocol, Any], value: Any) -> Answer:
    protocol, body = way
    inputs = protocol.read(Message(body=json.dumps(body).encode(), headers={}, path={"model": "m"}), SERVED)
    try:
        return inputs.write(Prediction(value=value, seconds=0.0), SERVED)
    except ServingError as error:
        return protocol.refuse(Refusal.of(error))


def read_by_triton(answer: Answer) -> list[tuple[dict[str, Any], np.ndarray[Any, Any]]]:
    """Each output with its values, as NVIDIA's client reads them."""
    length = dict(answer.headers).get(LENGTH)
    result = InferResult.from_response_body(answer.body, header_length=int(length) if length else None)
    return [(output, result.as_numpy(output["name"])) for output in result.get_response()["outputs"]]


def decoded(output: dict[str, Any], values: np.ndarray[Any, Any]) -> list[Any]:
    """The values as the JSON of other protocols has them, in nested lists of the shape."""
    match output["parameters"]["content_type"]:
        case "np":
            flat = [
                None if isinstance(value, float) and not math.isfinite(value) else value
                for value in values.ravel().tolist()
            ]
        case "pd_json":
            flat = [json.loads(value) for value in values.ravel()]
        case _:
            flat = [value if isinstance(value, str) else value.decode() for value in values.ravel()]
    shape = output["shape"]
    for length in reversed(shape[1:]):
        flat = [flat[at * length : (at + 1) * length] for at in range(len(flat) // length if length else shape[0])]
    return flat


def meaning(answer: Answer, expected: Any) -> Any:
    """Return the outputs in the form of `expected`."""
    outputs = [(output, decoded(output, values)) for output, values in read_by_triton(answer)]
    kind = json.loads(answer.body[: int(dict(answer.headers).get(LENGTH, len(answer.body)))])["parameters"][
        "content_type"
    ]
    by_name = {output["name"]: values for output, values in outputs}
    shapes = {output["name"]: output["shape"] for output, _ in outputs}
    if kind == "dict":
        return by_name
    if (
        isinstance(expected, list)
        and expected
        and all(isinstance(row, dict) and set(row) == set(by_name) for row in expected)
    ):
        columns = {name: [row[0] if shapes[name][1:] == [1] else row for row in rows] for name, rows in by_name.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (values,) = by_name.values()
    return values if values == expected else values[0]


RECORD = [("n", "i4"), ("t", "M8[ns]")]
WRITTEN: dict[str, Callable[[], Any]] = {
    "lists of different length": lambda: [[1, 2], [3]],
    "lists of texts": lambda: [["a"], ["b"]],
    "lists of one length and several kinds": lambda: [[1, "a"], [2, None]],
    "a namedtuple": lambda: Pair([1, 2], 3.5),
    "namedtuples": lambda: [Pair(1, 2), Pair(3, 4)],
    "a structured array": lambda: np.array([(1, "2024-01-31")], dtype=RECORD),
    "a record of one": lambda: np.array([(1, "2024-01-31")], dtype=RECORD)[0],
    "a record array": lambda: np.rec.array([(1, 2.5), (3, 4.5)]),
    "nested records": lambda: np.zeros(2, dtype=[("a", [("x", "i4"), ("y", "2f8")])]),
    "records with a mask": lambda: np.ma.array(
        [(1, 2.5), (3, 4.5)], mask=[(True, False), (False, True)], dtype=[("x", "i4"), ("y", "f8")]
    ),
    "a matrix": lambda: np.arange(4).reshape(2, 2).view(np.matrix),
    "a sparse matrix": lambda: sparse.csr_matrix([[1.0, 0], [0, 2]]),
    "a sparse matrix that is a dict": lambda: sparse.dok_matrix([[1.0, 0], [0, 2]]),
    "masked numbers": lambda: np.ma.array([1, 2], mask=[False, True]),
    "masked floats": lambda: np.ma.array([1.5, 2], mask=[False, True]),
    "nothing but a mask": lambda: np.ma.masked,
    "a number of no dimension": lambda: np.array(5.0),
    "a text of no dimension": lambda: np.array("abc"),
    "a dict of no dimension": lambda: np.array({"a": 1}, dtype=object),
    "a column in Fortran's order": lambda: np.asfortranarray([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
    "numbers of another byte order": lambda: np.array([1.5, 2], dtype=">f8"),
    "texts of numpy 2": lambda: np.array(["a", "bc"], dtype=np.dtypes.StringDType()),
    "numbers of half a float's length": lambda: np.array([1.5, -2], dtype=bfloat16),
    "whole numbers of four bits": lambda: np.array([7, -8], dtype=int4),
    "a tensor with a gradient": lambda: Tensor([[1.5, 2], [3, 4]]),
    "a tensor in a type that numpy lacks": lambda: Tensor([1.5, 2], "torch.bfloat16"),
    "tensors in a list": lambda: [Tensor([1.5]), Tensor([2.5])],
    "tensors in a dict": lambda: {"a": Tensor([1.5, 2]), "b": [Tensor(1.5), Tensor(2.5)]},
    "objects in two dimensions": lambda: np.array([[1, None], ["a", 2.5]], dtype=object),
    "arrays of different length in an array": lambda: np.array([np.arange(2), np.arange(3)], dtype=object),
    "arrays in a list": lambda: [np.array([1, 2]), np.array([3, 4])],
    "an array beside a list": lambda: [np.array([1, 2]), [3, 4]],
    "times beyond those of pandas": lambda: np.array([10**15], dtype="M8[D]"),
    "durations in years": lambda: np.array([1, 2], dtype="m8[Y]"),
    "times of which one is missing": lambda: np.array(["2024-01-31", "NaT"], dtype="M8[ns]"),
    "times in a list": lambda: [datetime.datetime(2024, 1, 31, tzinfo=datetime.UTC)],
    "an index": lambda: pd.Index(["a", "b"]),
    "an index of levels": lambda: pd.MultiIndex.from_tuples([("x", 1), ("y", 2)]),
    "an index of times": lambda: pd.date_range("2024-01-31", periods=2, tz="UTC"),
    "periods": lambda: pd.period_range("2024-01", periods=2, freq="M"),
    "an interval": lambda: pd.Interval(0, 1),
    "categories": lambda: pd.Categorical(["a", "b", "a"]),
    "numbers of which one is missing": lambda: pd.array([1, None], dtype="Int64"),
    "a set": lambda: {1},
    "a dataclass": lambda: [Score()],
    "a pydantic object": lambda: [Answered()],
    "a decimal": lambda: [decimal.Decimal("1.10")],
    "a UUID": lambda: uuid.UUID(int=1),
    "members of an enum": lambda: [Color.RED, Word.YES],
    "keys that are no text": lambda: {1: "a", 2.5: {None: True}, np.int64(3): [], Color.RED: 1},
    "whole numbers beyond 64 bits": lambda: [2**70, -(2**70)],
    "whole numbers beyond a double beside a float": lambda: [[2**53 + 1, 0.5]],
    "whole numbers signed and unsigned": lambda: [2**63, -1],
    "a boolean beside a number": lambda: [[True, 2]],
    "numbers of numpy of two kinds": lambda: [np.int64(2**53 + 1), np.float64(0.5)],
    "bytes of several kinds": lambda: [b"a", bytearray(b"b")],
    "nothing": lambda: None,
    "no rows": lambda: [],
    "rows of nothing": lambda: [[], []],
    "a dict of arrays": lambda: {"a": np.array([1, 2]), "b": [[1.5], [None]]},
    "a dict of records": lambda: {"a": np.array([(1, 2.5)], dtype=[("x", "i4"), ("y", "f8")])},
    "a column of Arrow": lambda: pa.array([1, 2, None]),
    "columns of Arrow": lambda: pa.table({"a": [1, 2], "b": ["x", None]}),
    "a scalar of Arrow": lambda: pa.scalar(5),
    "a frame with arrays as cells": lambda: pd.DataFrame({"a": [np.array([1.0, 2]), np.array([3.0, 4])]}),
    "a frame with lists of different length": lambda: pd.DataFrame({"a": [[1], [2, 3]]}),
    "a frame with rows of two levels": lambda: pd.DataFrame(
        {"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])
    ),
    "a frame with names that are no texts": lambda: pd.DataFrame([[1, 2, 3]], columns=[0, True, None]),
    "a frame of pandas' own types": lambda: pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "f": pd.array([1.5, None], dtype="Float64"),
            "s": pd.array(["a", None], dtype="string"),
            "c": pd.Categorical(["x", "y"]),
            "p": pd.period_range("2024-01", periods=2, freq="M"),
            "d": pd.to_timedelta(["1h", "2h"]),
            "z": pd.to_datetime(["2024-01-31", None], utc=True),
            "0": pd.arrays.SparseArray([0, 1]),
            "a": pd.array([1, None], dtype="int64[pyarrow]"),
        }
    ),
}


@pytest.mark.parametrize("sentence", WRITTEN)
def test_a_returned_value_is_the_same_by_every_protocol(sentence: str) -> None:
    value = WRITTEN[sentence]()
    expected = json.loads(written(BY_MLFLOW, value).body, parse_constant=pytest.fail)["predictions"]

    assert json.loads(written(BY_KSERVE, value).body)["predictions"] == expected
    assert json.loads(written(BY_DOMINO, value).body)["result"] == expected
    for way in (IN_JSON, BEHIND):
        for output, values in read_by_triton(written(way, value)):
            assert math.prod(output["shape"]) == values.size
    assert meaning(written(IN_JSON, value), expected) == expected


# Ours are in one line and with the time of a time; MLflow fails on what is beyond JSON, or writes a number without its
# unit.
OTHERWISE = {
    "times of which one is missing",
    "a structured array",
    "a record of one",
    "times beyond those of pandas",
    "durations in years",
    "bytes of several kinds",
    "a sparse matrix that is a dict",
}


def text_of_mlflow(value: Any) -> str | None:
    """Return what MLflow's server answers, None if it cannot write the value."""
    try:
        return json.dumps({"predictions": _get_jsonable_obj(value)}, cls=NumpyEncoder)  # type: ignore[no-untyped-call]  # as its server does
    except (TypeError, ValueError):
        return None


THEIRS = {
    sentence: text
    for sentence, value in sorted(WRITTEN.items())
    if sentence not in OTHERWISE and (text := text_of_mlflow(value()))
}


@pytest.mark.parametrize("sentence", THEIRS)
def test_value_that_mlflow_can_write_is_written_as_mlflow_writes_it(sentence: str) -> None:
    theirs = THEIRS[sentence].replace('"NaT"', "null").replace("NaN", "null")

    assert json.loads(written(BY_MLFLOW, WRITTEN[sentence]()).body) == json.loads(theirs)


@pytest.mark.parametrize(
    ("sentence", "datatypes"),
    [
        ("numbers of half a float's length", {"output-0": ("FP32", [2])}),
        ("whole numbers of four bits", {"output-0": ("INT8", [2])}),
        ("a tensor in a type that numpy lacks", {"output-0": ("FP32", [2])}),
        ("tensors in a list", {"output-0": ("FP32", [2, 1])}),
        ("tensors in a dict", {"a": ("FP32", [2]), "b": ("FP32", [2])}),
    ],
)
def test_numbers_of_other_libraries_are_numbers_in_tensors(
    sentence: str, datatypes: dict[str, tuple[str, list[int]]]
) -> None:
    outputs = [output for output, _ in read_by_triton(written(IN_JSON, WRITTEN[sentence]()))]

    assert {output["name"]: (output["datatype"], output["shape"]) for output in outputs} == datatypes


def itself() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


def numbers() -> Iterator[int]:
    yield 1


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "columns of two levels": (
        lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("x", "a")])),
        "a DataFrame whose columns have 2 levels",
    ),
    "columns of one name": (
        lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "a DataFrame with two columns of the same name",
    ),
    "columns of one text": (
        lambda: pd.DataFrame([[1, 2]], columns=[0, "0"]),
        "a DataFrame with two columns of the same name",
    ),
    "keys of one text": (lambda: {1: "a", "1": "b"}, "a dict with two keys of the same text"),
    "outputs of one text": (lambda: {1: [1], "1": [2]}, "a dict with two keys of the same text"),
    "a key that has no text": (lambda: {"a": {(1, 2): 3}}, "a dict with a key of type tuple"),
    "complex numbers": (lambda: np.array([1j]), "complex numbers"),
    "complex numbers in a list": (lambda: [{"a": 1j}], "complex numbers"),
    "long doubles": (lambda: np.array([1.5], dtype=np.longdouble), "numbers of the type"),
    "a large sparse matrix": (lambda: sparse.csr_matrix((10**6, 10**6)), "a sparse matrix of 1000000000000 cells"),
    "a generator": (numbers, "a generator"),
    "a function": (lambda: len, "a value of type builtin_function_or_method"),
    "a class": (lambda: Score, "the class Score"),
    "an object": (lambda: [object()], "a value of type object"),
    "half of a letter": (lambda: ["\ud800"], "a text that is no Unicode"),
    "a list in itself": (itself, "values that are nested too deep, or that contain themselves"),
    "two columns of Arrow": (
        lambda: pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]),
        "a table with two columns",
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
@pytest.mark.parametrize(
    "way", [BY_MLFLOW, BY_KSERVE, BY_DOMINO, IN_JSON, BEHIND], ids=["invocations", "v1", "domino", "v2", "behind"]
)
def test_a_returned_value_that_no_answer_can_hold_is_refused_by_its_kind(
    sentence: str, way: tuple[Protocol, Any]
) -> None:
    make, kind = REFUSED[sentence]
    answer = written(way, make())
    document = json.loads(answer.body)

    assert answer.status == 500
    assert f"the model returned {kind}" in document.get("message", document.get("error"))


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=2)
)
returned = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(value=returned)
def test_any_nested_value_is_the_same_in_tensors_as_in_json(value: Any) -> None:
    expected = json.loads(written(BY_MLFLOW, value).body)["predictions"]
    answers = [written(way, value) for way in (IN_JSON, BEHIND)]

    assert expected == value
    assert meaning(answers[0], expected) == expected
    for answer in answers:
        for output, values in read_by_triton(answer):
            assert math.prod(output["shape"]) == values.size


def test_lists_of_different_length_are_compared_and_split_row_by_row() -> None:
    rows = [[1.0, 2.0], [3.0]]

    assert same(rows, [[1.0, 2.0], [3.0]])
    assert not same(rows, [[1.0, 2.0], [4.0]])
    assert split(rows, [1, 1]) == [[[1.0, 2.0]], [[3.0]]]


def test_nan_in_an_element_of_json_is_refused_if_the_setting_says_so() -> None:
    strict = ServedModel(name="m", version=None, metadata=SERVED.metadata, conform=SERVED.conform, nan=Nan.ERROR)
    inputs = OPEN_INFERENCE.read(Message(body=json.dumps(IN_JSON[1]).encode(), headers={}, path={"model": "m"}), strict)

    with pytest.raises(ServingError, match="NaN or infinity"):
        inputs.write(Prediction(value=[{"a": float("nan")}], seconds=0.0), strict)


def test_times_in_a_record_are_times() -> None:
    """The call `tolist` of numpy makes numbers of them."""
    returned = np.array([(1, "2024-01-31T12:00")], dtype=[("number", "i4"), ("at", "M8[ns]")])

    assert outputs_of(returned, Signature())[0][0].values == ['[1,"2024-01-31T12:00:00"]']
    assert json.loads(dumps(returned)) == [[1, "2024-01-31T12:00:00"]]
