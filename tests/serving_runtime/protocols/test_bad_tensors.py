"""Bad input by V2: a clear 400 in the protocol's shape, with the place of what is wrong."""

import json
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from serving_runtime.errors import InvalidInputError
from serving_runtime.input.conform import conformer
from serving_runtime.protocols.interface import Message, Protocol, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from serving_runtime.signature import Column, Scalar, Signature

Ask = Callable[[str], Any]
LENGTH = b"inference-header-content-length"


def one(**changes: Any) -> dict[str, Any]:
    """A request for the column `x` of whole numbers, with changes to its tensor; None leaves a member out."""
    entry = {"name": "x", "datatype": "INT64", "shape": [2], "data": [1, 2]} | changes
    return {"inputs": [{key: value for key, value in entry.items() if value is not None}]}


WRONG: dict[str, tuple[Any, str, str]] = {
    "an unknown datatype": (one(datatype="INT128"), "inputs[0].datatype", "an unknown datatype"),
    "a datatype in small letters": (one(datatype="int64"), "inputs[0].datatype", "an unknown datatype"),
    "no datatype": (one(datatype=None), "inputs[0].datatype", "nothing"),
    "no name": (one(name=None), "inputs[0].name", "nothing"),
    "an empty name": (one(name=""), "inputs[0].name", "an empty string, where the model takes a name"),
    "a name that is none": (one(name=7), "inputs[0].name", "a number"),
    "no shape": (one(shape=None), "inputs[0].shape", "nothing"),
    "a negative length": (one(shape=[-1]), "inputs[0].shape", "whole numbers, 0 or more"),
    "a length with a fraction": (one(shape=[2.0]), "inputs[0].shape", "whole numbers, 0 or more"),
    "a length that is true": (one(shape=[True]), "inputs[0].shape", "whole numbers, 0 or more"),
    "a shape that says more": (one(shape=[3]), "inputs[0].data", "2 values, where the shape [3] has 3"),
    "a shape that says less": (one(shape=[1]), "inputs[0].data", "2 values, where the shape [1] has 1"),
    "a shape of astronomic size": (one(shape=[2**62, 2**62, 2**62]), "inputs[0].shape", "the shape has too many"),
    "an empty shape of astronomic size": (
        one(shape=[0, 2**62, 2**62], data=[]),
        "inputs[0].shape",
        "the shape has too many",
    ),
    "a shape of a million dimensions": (one(shape=[2] * 1_000_000), "inputs[0].shape", "the shape has too many"),
    "a shape that says nothing": (one(shape=[0]), "inputs[0].data", "2 values, where the shape [0] has 0"),
    "another shape than the data has": (one(shape=[1, 4], data=[[1, 2], [3, 4]]), "inputs[0].data", "shape [2, 2]"),
    "ragged data": (one(shape=[3], data=[[1, 2], [3]]), "inputs[0].data[1]", "of another length than its neighbours"),
    "no data": (one(data=None), "inputs[0]", "either data or parameters.binary_data_size; this one has neither"),
    "data that is no list": (one(data="12"), "inputs[0].data", "a string"),
    "an input in shared memory": (
        one(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16}),
        "inputs[0].parameters.shared_memory_region",
        "there is no shared memory here",
    ),
    "an output to shared memory": (
        {**one(), "outputs": [{"name": "output-0", "parameters": {"shared_memory_region": "r"}}]},
        "outputs[0].parameters.shared_memory_region",
        "there is no shared memory here",
    ),
    "an output as classes": (
        {**one(), "outputs": [{"name": "output-0", "parameters": {"classification": 2}}]},
        "outputs[0].parameters.classification",
        "there are no classes here",
    ),
    "data of another datatype": (
        one(datatype="INT32", data=[1, 2**31]),
        "inputs[0].data[1]",
        "a number out of range, where INT32 takes",
    ),
    "data with a fraction": (
        one(data=[1, 2.5]),
        "inputs[0].data[1]",
        "a number that has a fraction, where the model takes",
    ),
    "texts among numbers": (one(data=[1, "2"]), "inputs[0].data[1]", "a string, where the model takes a whole number"),
    "texts for numbers": (
        one(datatype="BYTES", data=["1", "2"]),
        "inputs[0].data[0]",
        "a string, where the model takes a whole number",
    ),
    "null among whole numbers": (
        one(data=[1, None]),
        "inputs[0].data[1]",
        "null, where the model takes a whole number",
    ),
    "FP16 in the JSON": (one(datatype="FP16"), "inputs[0].datatype", "FP16 cannot be sent in JSON"),
    "a size without a header": (
        one(data=None, parameters={"binary_data_size": 16}),
        "inputs[0].parameters.binary_data_size",
        "the header Inference-Header-Content-Length is missing",
    ),
    "parameters that are none": (
        one(parameters=[]),
        "inputs[0].parameters",
        "an array, where the model takes an object",
    ),
    "a matrix for a column": (
        one(shape=[1, 2]),
        "inputs[0].shape",
        "the shape of a column must be [rows] or [rows, 1]",
    ),
    "another column": (one(name="y"), "inputs", 'the column "x" is missing'),
    "a name twice": ({"inputs": one()["inputs"] * 2}, "inputs[1].name", "a name that comes twice"),
    "columns of different lengths": (
        {"inputs": [*one()["inputs"], {"name": "y", "datatype": "INT64", "shape": [1], "data": [1]}]},
        "inputs",
        "the same number of values: x has 2, y has 1",
    ),
    "an id that is none": (one() | {"id": 7}, "id", "a number, where the model takes a string"),
    "outputs that are none": (one() | {"outputs": [7]}, "outputs", "an array of objects with a name"),
    "an output that there is not": (one() | {"outputs": [{"name": "y"}]}, "outputs[0].name", "it has output-0"),
    "the request's parameters in a list": (one() | {"parameters": []}, "parameters", "an array"),
}  # fmt: skip  one line for each


@pytest.mark.parametrize("sentence", WRONG)
def test_a_tensor_that_is_wrong_is_refused_with_its_place(sentence: str, ask: Ask) -> None:
    body, path, problem = WRONG[sentence]
    answer = ask("one-long")("v2", body)
    document = json.loads(answer.body)

    assert answer.status == 400
    assert document["error"].startswith(f"{path}: ")
    assert document["details"][0]["path"] == path
    assert problem in document["details"][0]["problem"]


def test_every_fault_of_every_tensor_is_reported_at_once(ask: Ask) -> None:
    body = {
        "inputs": [
            {"name": "a", "datatype": "FP64", "shape": [2], "data": ["x", True]},
            {"name": "b", "datatype": "INT8", "shape": [2], "data": [300, 1.5]},
        ]
    }
    by_datatype = {
        "inputs": [
            {"name": "a", "datatype": "INT8", "shape": [-1], "data": []},
            {"name": "b", "shape": [1], "data": [1]},
        ]
    }

    told = json.loads(ask("two-doubles")("v2", body | {"inputs": body["inputs"][:1]}).body)["details"]
    here = json.loads(ask("two-doubles")("v2", by_datatype).body)["details"]

    assert [fault["path"] for fault in told] == ["inputs", "inputs[0].data[0]", "inputs[0].data[1]"]
    assert [fault["path"] for fault in here] == ["inputs[0].shape", "inputs[1].datatype"]


MALFORMED: dict[str, tuple[bytes, dict[bytes, bytes], int, str]] = {
    "no JSON": (b"{", {}, 400, "the body is not JSON"),
    "nothing": (b"", {}, 400, "the body is not JSON"),
    "a list": (b"[]", {}, 400, "the body must be a JSON object"),
    "no inputs": (b"{}", {}, 400, "inputs must be an array of tensors"),
    "inputs that are empty": (b'{"inputs": []}', {}, 400, "inputs must be an array of tensors"),
    "a key twice": (b'{"inputs": [{"name": "x", "name": "x"}]}', {}, 400, "a key that comes twice"),
    "ten million brackets": (b'{"inputs": ' + b"[" * 10_000_000, {}, 400, "nested too deep"),
    "1e400": (b'{"inputs": [{"data": [1e400]}]}', {}, 400, "beyond what a double can hold"),
    "a header longer than the body": (b"{}", {LENGTH: b"3"}, 400, "is 3, and the body has only 2 bytes"),
    "a header of astronomic length": (b"{}", {LENGTH: b"9" * 1000}, 400, "must be the number of bytes"),
    "a header that is negative": (b"{}", {LENGTH: b"-1"}, 400, "must be the number of bytes"),
    "a header that is no number": (b"{}", {LENGTH: "٢".encode()}, 400, "must be the number of bytes"),
    "a header of nothing": (b"{}", {LENGTH: b"0"}, 400, "the body is not JSON"),
    "bytes of no tensor": (
        json.dumps(one()).encode() + b"!",
        {LENGTH: b"%d" % len(json.dumps(one()))},
        400,
        "1 bytes more",
    ),
    "CSV": (b"x\n1\n", {b"content-type": b"text/csv"}, 415, "this Content-Type is not supported"),
}


@pytest.mark.parametrize("sentence", MALFORMED)
def test_a_malformed_body_is_refused_in_the_protocols_shape(sentence: str, ask: Ask) -> None:
    body, headers, status, message = MALFORMED[sentence]
    answer = ask("one-long")("v2", body, headers)

    assert answer.status == status
    assert message in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("tensor", "raw", "problem"),
    [
        (("INT64", [2], 8), b"\0" * 8, "8 bytes, but 2 values of INT64 have 16"),
        (("INT64", [2], 17), b"\0" * 16, "17 bytes, of which the body has only 16"),
        (("INT64", [2], -16), b"\0" * 16, "a number of bytes, 0 or more"),
        (("INT64", [2], 16.0), b"\0" * 16, "a number of bytes, 0 or more"),
        (("INT64", [2], True), b"\0" * 16, "a number of bytes, 0 or more"),
        (("INT64", [2**40, 2**40], 16), b"\0" * 16, "the shape has too many dimensions or values"),
        (("BOOL", [2], 2), b"\0\2", "a byte other than 0 and 1"),
        (("BYTES", [1], 7), struct.pack("<I", 5) + b"abc", "a length beyond the end"),
        (("BYTES", [1], 4), struct.pack("<I", 2**32 - 1), "a length beyond the end"),
        (("BYTES", [2], 5), struct.pack("<I", 1) + b"a", "the bytes of 1 elements, but the shape has 2"),
        (("BYTES", [1], 6), struct.pack("<I", 1) + b"ab", "1 bytes are left after the 1 elements"),
        (("BYTES", [1], 2), b"\1\0", "a length beyond the end"),
        (("BYTES", [1], 5), struct.pack("<I", 1) + b"\xff", "bytes that are no UTF-8"),
    ],
)
def test_bytes_after_the_json_that_do_not_fit_their_tensor_are_refused(
    tensor: tuple[str, Any, Any], raw: bytes, problem: str, ask: Ask
) -> None:
    datatype, shape, size = tensor
    document = {
        "inputs": [{"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}]
    }
    answer = ask("one-long").behind(document, raw)

    assert answer.status == 400
    assert problem in json.loads(answer.body)["error"]


def test_bad_base64_is_refused_and_bad_json_in_a_cell_too(ask: Ask) -> None:
    ids = {"name": "id", "datatype": "INT64", "shape": [1], "data": [1]}
    binary = {"inputs": [ids, {"name": "binary", "datatype": "BYTES", "shape": [1], "data": ["@@"]}]}
    matrix, half = (
        {"inputs": [ids, {"name": "matrix", "datatype": "BYTES", "shape": [1], "data": [text]}]}
        for text in ("[1", '["\ud800"]')
    )

    assert "no base64 with padding" in json.loads(ask("optional")("v2", binary).body)["error"]
    assert "the string must hold JSON" in json.loads(ask("nested")("v2", matrix).body)["error"]
    assert "the string must hold JSON" in json.loads(ask("nested")("v2", half).body)["error"]


@pytest.mark.parametrize(
    ("protocol", "path", "status"),
    [
        ("v2", {"model": "other"}, 404),
        ("v2", {"model": "m", "version": "4"}, 404),
        ("v2", {"model": "m", "version": "3"}, 200),
        ("v1", {"model": "other"}, 404),
    ],
)
def test_only_the_model_that_is_served_answers(protocol: str, path: dict[str, str], status: int, ask: Ask) -> None:
    body = one() if protocol == "v2" else {"instances": [1]}
    answer = ask("one-long")(protocol, body, path=path)

    assert answer.status == status
    assert ("error" in json.loads(answer.body)) is (status != 200)


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("v2", one(data=["s3cret", "s3cret"])),
        ("v2", one(datatype="s3cret")),
        ("v2", one(shape=["s3cret"])),
        ("v2", one(datatype="FP32", data=[1, "s3cret"])),
        ("v2", one() | {"outputs": [{"name": "s3cret"}]}),
        ("v2", one() | {"id": ["s3cret"]}),
        ("v1", {"instances": ["s3cret"]}),
        ("v1", {"instances": [1], "parameters": "s3cret"}),
        ("domino", {"data": {"x": "s3cret"}}),
        ("domino", {"parameters": ["s3cret"]}),
        ("domino", "s3cret"),
    ],
)
def test_a_refusal_never_holds_what_was_sent(protocol: str, body: Any, ask: Ask) -> None:
    answer = ask("one-long")(protocol, body)

    assert answer.status == 400
    assert b"s3cret" not in answer.body


TWICE = Signature(columns=(Column(name="a", type=Scalar(name="double"), required=True),) * 2)
MATRIX = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]}
BY_NAME = {"inputs": [{"name": name, "datatype": "FP64", "shape": [1], "data": [1]} for name in ("a", "input-1")]}


@pytest.mark.parametrize(
    ("protocol", "body"),
    [(OPEN_INFERENCE, MATRIX), (OPEN_INFERENCE, BY_NAME), (KSERVE_V1, {"instances": [[1, 2]]})],
    ids=["one tensor", "a tensor of each", "rows of V1"],
)
def test_values_of_two_columns_with_one_name_are_refused(protocol: Protocol, body: Any) -> None:
    """A frame that was made by name would have one of them. MLflow predicts for one column of the name."""
    served = ServedModel(name="m", version=None, metadata=SimpleNamespace(signature=TWICE), conform=conformer(TWICE))  # type: ignore[arg-type]

    with pytest.raises(InvalidInputError):
        protocol.read(Message(body=json.dumps(body).encode(), headers={}, path={"model": "m"}), served)
