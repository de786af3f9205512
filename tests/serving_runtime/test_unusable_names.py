"""Names of rows and columns that pandas cannot use, and values that are nested too deep, are refused, not failures."""

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from serving_runtime.codec.delimited import read_csv
from serving_runtime.errors import InvalidInputError, MalformedRequestError
from serving_runtime.input.conform import conformer
from serving_runtime.input.table import Table
from serving_runtime.model import Model
from serving_runtime.process.serve import log_line
from serving_runtime.protocols.domino.call import read_call
from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Message, Protocol, Refusal, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.mlflow.request import read_request
from serving_runtime.signature import Anything, Column, Scalar, Signature
from testbed.runtime_core import answer

JSON = "application/json"
DEEP = "[" * 500 + "]" * 500
HALF = r'"\ud800"'


@pytest.mark.parametrize("name", ["free", "one-long"])
@pytest.mark.parametrize("index", [f"[{HALF}]", "[[]]", f"[{DEEP}]"], ids=["half a pair", "a list", "deep lists"])
def test_index_that_pandas_cannot_use_is_refused(name: str, index: str, model: Callable[[str], Model]) -> None:
    body = f'{{"dataframe_split": {{"columns": ["x"], "index": {index}, "data": [[1]]}}}}'

    with pytest.raises(MalformedRequestError, match=r"dataframe_split\.index: names that pandas cannot use"):
        answer(model(name), body.encode(), JSON)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"dataframe_split": {{"columns": [{HALF}], "data": [[1]]}}}}',
        f'{{"dataframe_split": {{"columns": [{HALF}, {HALF}], "data": [[1, 2]]}}}}',
        f'{{"dataframe_records": [{{{HALF}: 1}}]}}',
    ],
    ids=["split", "twice", "records"],
)
def test_name_of_a_column_with_half_of_a_surrogate_pair_is_refused(body: str, model: Callable[[str], Model]) -> None:
    with pytest.raises(MalformedRequestError):
        answer(model("free"), body.encode(), JSON)


@pytest.mark.parametrize(
    "columns", ["[{}]", '[["x", {}]]', '[["x", [{}]]]'], ids=["an object", "in a list", "in a list of a list"]
)
def test_name_of_a_column_with_an_object_is_refused(columns: str, model: Callable[[str], Model]) -> None:
    with pytest.raises(InvalidInputError, match=r"dataframe_split\.columns\[0\]: an .* must be a string or a number"):
        answer(model("free"), f'{{"dataframe_split": {{"columns": {columns}, "data": [[1]]}}}}'.encode(), JSON)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"dataframe_records": [{{"x": {HALF}}}]}}',
        f'{{"dataframe_split": {{"columns": ["x", "x"], "index": ["i"], "data": [[{HALF}, 1]]}}}}',
        f'{{"inputs": {{"x": [{HALF}]}}}}',
    ],
    ids=["records", "names that come twice", "inputs"],
)
@pytest.mark.parametrize("columns", [(), (Column(name="x", type=Anything(), required=True),)], ids=["free", "any"])
def test_text_with_half_of_a_surrogate_pair_reaches_a_model_that_takes_any_value(
    body: str, columns: tuple[Column, ...]
) -> None:
    signature = Signature(columns=columns)
    if columns and "index" in body:
        body = body.replace('"x", "x"', '"x", "y"')

    data = conformer(signature)(read_request(body.encode(), JSON, signature)).data

    first = data["x"] if isinstance(data, dict) else data.iloc[:, 0].tolist()
    assert [*first] == ["\ud800"]


@pytest.mark.parametrize("protocol", [INVOCATIONS, KSERVE_V1, DOMINO], ids=["invocations", "v1", "domino"])
def test_refusal_names_a_column_with_half_of_a_surrogate_pair(protocol: Protocol) -> None:
    columns = {"\ud800": [1], "a": [1, 2]}
    body = {"data": columns} if protocol is DOMINO else {"inputs": columns}
    signature = Signature(columns=(Column(name="a", type=Scalar(name="long"), required=True),))
    served = ServedModel(
        name="m", version=None, metadata=SimpleNamespace(signature=signature), conform=conformer(signature)
    )  # type: ignore[arg-type]

    with pytest.raises(InvalidInputError) as caught:
        protocol.read(Message(body=json.dumps(body).encode(), headers={}, path={"model": "m"}), served)

    answer = protocol.refuse(Refusal.of(caught.value))
    assert answer.status == 400
    assert rb"\\ud800 has 1" in answer.body


def test_line_of_the_log_may_have_half_of_a_surrogate_pair() -> None:
    line = {"message": "ignored", "columns": ["\ud800", "ü"]}

    assert json.loads(log_line(line).encode()) == line


def test_index_of_texts_and_numbers_reaches_the_model(model: Callable[[str], Model]) -> None:
    body = b'{"dataframe_split": {"columns": ["x"], "index": ["a", 7], "data": [[1], [2]]}}'

    assert b'"index":["a","7"]' in answer(model("free"), body, JSON)


def test_call_of_domino_with_values_nested_too_deep_is_refused() -> None:
    value: list[object] = []
    for _ in range(2000):
        value = [value]

    with pytest.raises(MalformedRequestError, match="nested too deep"):
        read_call([], {"x": value}, Signature())


def test_empty_line_before_the_header_of_a_csv_is_no_row() -> None:
    signature = Signature(columns=(Column(name="a 1", type=Scalar(name="string"), required=True),))

    table = read_csv(b"\n\r\na 1\nb 2\nc 3\n", signature)

    assert isinstance(table, Table)
    assert {name: list(cells) for name, cells in table.columns.items()} == {"a 1": ["b 2", "c 3"]}


def test_csv_with_bars_is_refused_with_advice() -> None:
    signature = Signature(columns=(Column(name="a", type=Scalar(name="string"), required=True),))

    with pytest.raises(InvalidInputError, match="must be separated by commas"):
        read_csv(b"a|b\n1|2,5\n", signature)
