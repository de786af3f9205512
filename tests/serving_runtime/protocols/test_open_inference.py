"""Open Inference Protocol V2: every kind of signature, in the JSON and after it."""

import json
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving_runtime.errors import InvalidInputError
from serving_runtime.input.conform import conformer
from serving_runtime.protocols.interface import Message, ServedModel
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from serving_runtime.signature import Signature

Ask = Callable[[str], Any]
EVERY_TYPE = {
    "boolean": ("BOOL", True),
    "integer": ("INT32", 1),
    "long": ("INT64", 2),
    "float": ("FP32", 0.5),
    "double": ("FP64", 1.5),
    "string": ("BYTES", "a"),
    "binary": ("BYTES", "AQID"),
    "datetime": ("BYTES", "2024-01-31T12:00:00"),
}
ROW = {name: value for name, (_, value) in EVERY_TYPE.items()}
PERSON = {"name": "Ada", "age": 36}


def tensor(name: str, datatype: str, shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def inputs(*tensors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(tensors), **more}


def echoed(answer: Any) -> Any:
    """Return the input of the model's call, as the model reports it."""
    (output,) = json.loads(answer.body)["outputs"]
    return json.loads(output["data"][0])


# The sentence is the test's name; model, body of V2, and the body of MLflow's protocol that means the same.
SAME: dict[str, tuple[str, Any, Any]] = {
    "every type of a column": (
        "scalars",
        inputs(*(tensor(name, datatype, [1], [value]) for name, (datatype, value) in EVERY_TYPE.items())),
        {"dataframe_records": [ROW]},
    ),
    "a column of shape n and 1": ("one-long", inputs(tensor("x", "INT64", [2, 1], [1, 2])), {"inputs": {"x": [1, 2]}}),
    "a value of a column without a shape": (
        "one-unnamed",
        inputs(tensor("input-0", "BYTES", [], ["Hello, my dog is cute."])),
        {"inputs": ["Hello, my dog is cute."]},
    ),
    "nested data": ("one-long", inputs(tensor("x", "INT64", [2, 1], [[1], [2]])), {"inputs": {"x": [1, 2]}}),
    "a narrower datatype": ("one-long", inputs(tensor("x", "INT8", [2], [1, 2])), {"inputs": {"x": [1, 2]}}),
    "floats for whole numbers": ("one-long", inputs(tensor("x", "FP64", [2], [1, 2.0])), {"inputs": {"x": [1, 2]}}),
    "whole numbers for doubles": ("one-double", inputs(tensor("x", "INT64", [2], [1, 2])), {"inputs": {"x": [1, 2]}}),
    "null among doubles": ("one-double", inputs(tensor("x", "FP64", [2], [None, 2])), {"inputs": {"x": [None, 2]}}),
    "columns in another order": (
        "two-doubles",
        inputs(tensor("b", "FP64", [1], [2]), tensor("a", "FP64", [1], [1])),
        {"inputs": {"a": [1], "b": [2]}},
    ),
    "a column too many": (
        "two-doubles",
        inputs(tensor("a", "FP64", [1], [1]), tensor("b", "FP64", [1], [2]), tensor("c", "BYTES", [1], ["x"])),
        {"inputs": {"a": [1], "b": [2]}},
    ),
    "optional columns left out": ("optional", inputs(tensor("id", "INT64", [1], [1])), {"inputs": {"id": [1]}}),
    "one tensor of all columns": (
        "two-doubles",
        inputs(tensor("input-0", "FP32", [2, 2], [[1, 2], [3, 4]])),
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
    ),
    "one flat tensor of all columns": (
        "two-doubles",
        inputs(tensor("input-0", "FP64", [2, 2], [1, 2, 3, 4])),
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
    ),
    "columns without names": (
        "unnamed",
        inputs(tensor("input-0", "FP64", [1], [0.5]), tensor("input-1", "INT64", [1], [1])),
        {"inputs": [[0.5, 1]]},
    ),
    "one tensor of columns without names": (
        "unnamed",
        inputs(tensor("x", "FP64", [1, 2], [0.5, 1])),
        {"inputs": [[0.5, 1]]},
    ),
    "JSON in a column of objects": (
        "nested",
        inputs(
            tensor("id", "INT64", [1], [1]),
            tensor("matrix", "BYTES", [1], ["[[1], [2, 3]]"]),
            tensor("person", "BYTES", [1], [json.dumps(PERSON)], parameters={"content_type": "pd_json"}),
        ),
        {"dataframe_records": [{"id": 1, "matrix": [[1], [2, 3]], "person": PERSON}]},
    ),
    "JSON in a map and in a value of any type": (
        "map",
        inputs(tensor("counts", "BYTES", [1], ['{"a": 1}']), tensor("anything", "BYTES", [1], ["[1, null]"])),
        {"dataframe_records": [{"counts": {"a": 1}, "anything": [1, None]}]},
    ),
    "an array column as rows of numbers": (
        "array",
        inputs(tensor("values", "FP32", [2, 2], [1, 2, 3, 4])),
        {"dataframe_records": [{"values": [1, 2]}, {"values": [3, 4]}]},
    ),
    "a tensor": (
        "tensor",
        inputs(tensor("any name", "FP64", [2, 3], [1, 2, 3, 4, 5, 6])),
        {"inputs": [[1, 2, 3], [4, 5, 6]]},
    ),
    "a tensor of another type": (
        "image",
        inputs(tensor("x", "UINT8", [1, 2, 2], [0, 1, 2, 255])),
        {"inputs": [[[0, 1], [2, 255]]]},
    ),
    "tensors by name": (
        "tensors",
        inputs(tensor("mask", "BOOL", [1], [True]), tensor("ids", "INT64", [1, 2], [[1, 2]])),
        {"inputs": {"ids": [[1, 2]], "mask": [True]}},
    ),
    "a tensor of texts": ("texts", inputs(tensor("x", "BYTES", [2], ["a", "bc"])), {"inputs": ["a", "bc"]}),
    "no signature, one tensor": (
        "free",
        inputs(tensor("x", "INT64", [2, 2], [1, 2, 3, 4])),
        {"inputs": [[1, 2], [3, 4]]},
    ),
    "no signature, several": (
        "free",
        inputs(tensor("a", "INT64", [2], [1, 2]), tensor("b", "FP64", [2, 1], [1.5, 2.5])),
        {"inputs": {"a": [1, 2], "b": [[1.5], [2.5]]}},
    ),
    "no signature, columns of a frame": (
        "free",
        inputs(
            tensor("a", "INT64", [2], [1, 2]), tensor("b", "BYTES", [2], ["x", "y"]), parameters={"content_type": "pd"}
        ),
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}},
    ),
    "parameters": (
        "params",
        inputs(
            tensor("x", "INT64", [1], [1]),
            parameters={"k": 5, "stop": ["a", "b"], "binary_data_output": False, "priority": 1},
        ),
        {"inputs": {"x": [1]}, "params": {"k": 5, "stop": ["a", "b"]}},
    ),
}


@pytest.mark.parametrize("sentence", SAME)
def test_the_model_sees_the_same_as_by_mlflows_protocol(sentence: str, ask: Ask) -> None:
    name, body, same = SAME[sentence]
    asked = ask(name)

    assert echoed(asked("v2", body)) == json.loads(asked("invocations", same).body)["predictions"]


def read_without_signature(*tensors: Any) -> pd.DataFrame:
    served = ServedModel(
        name="m", version=None, metadata=SimpleNamespace(signature=Signature()), conform=conformer(Signature())
    )  # type: ignore[arg-type]
    body = json.dumps(inputs(*tensors, parameters={"content_type": "pd"})).encode()
    frame = OPEN_INFERENCE.read(Message(body=body, headers={}, path={"model": "m"}), served).data
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_without_a_signature_a_column_is_what_its_content_type_says() -> None:
    frame = read_without_signature(
        tensor("photo", "BYTES", [1], ["aGk="], parameters={"content_type": "base64"}),
        tensor("at", "BYTES", [1], ["2021-08-24T15:01:19-04:00"], parameters={"content_type": "datetime"}),
        tensor("text", "BYTES", [1], ["aGk="], parameters={"content_type": "str"}),
    )

    assert frame.to_dict("list") == {"photo": [b"hi"], "at": [pd.Timestamp("2021-08-24T19:01:19")], "text": ["aGk="]}


@pytest.mark.parametrize(("content_type", "sent"), [("base64", "a"), ("datetime", "yesterday")])
def test_without_a_signature_an_element_that_is_not_its_content_type_is_refused(content_type: str, sent: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_without_signature(tensor("x", "BYTES", [1], [sent], parameters={"content_type": content_type}))

    assert [detail["path"] for detail in refused.value.details] == ["inputs[0].data[0]"]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT8", "INT64", "UINT64"])
def test_without_a_signature_numbers_have_the_type_of_their_datatype(datatype: str) -> None:
    null = [None] if datatype.startswith("FP") else []
    frame = read_without_signature(tensor("x", datatype, [2 + len(null)], [1, 2, *null]))

    assert frame["x"].dtype == NUMBERS[datatype].dtype
    assert frame["x"].tolist()[:2] == [1, 2]
    assert frame["x"].isna().tolist() == [False, False, *(True for _ in null)]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "BOOL"])
def test_without_a_signature_a_value_that_the_datatype_does_not_hold_is_refused(datatype: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_without_signature(tensor("x", datatype, [1], ["1"]))

    assert f"a string, where {datatype} takes" in str(refused.value)


def test_a_type_hint_gets_the_list_that_it_takes(ask: Ask) -> None:
    answer = json.loads(ask("hinted")("v2", inputs(tensor("x", "INT64", [3], [1, 2, 3]))).body)

    assert answer["outputs"][0]["data"] == [2, 3, 4]


NUMBERS = {
    "BOOL": np.array([True, False]),
    "UINT8": np.array([0, 255], dtype="<u1"),
    "UINT16": np.array([0, 65535], dtype="<u2"),
    "UINT32": np.array([0, 2**32 - 1], dtype="<u4"),
    "UINT64": np.array([0, 2**64 - 1], dtype="<u8"),
    "INT8": np.array([-128, 127], dtype="<i1"),
    "INT16": np.array([-32768, 32767], dtype="<i2"),
    "INT32": np.array([-(2**31), 2**31 - 1], dtype="<i4"),
    "INT64": np.array([-(2**63), 2**63 - 1], dtype="<i8"),
    "FP16": np.array([0.5, -2], dtype="<f2"),
    "FP32": np.array([0.1, np.inf], dtype="<f4"),
    "FP64": np.array([0.1, -0.0], dtype="<f8"),
}


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_behind_the_json_are_seen_as_they_are(datatype: str, ask: Ask) -> None:
    values = NUMBERS[datatype]
    document = {
        "inputs": [{"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": values.nbytes}}]
    }

    seen = echoed(ask("free").behind(document, values.tobytes()))["input"]

    assert (seen["array"], seen["shape"]) == (str(values.dtype), [2])
    assert seen["values"] == [f"{type(value).__name__} {value!r}" for value in values.tolist()]


def elements(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def test_bytes_behind_the_json_are_texts_or_bytes_as_the_column_takes(ask: Ask) -> None:
    raw = {
        "id": struct.pack("<q", 1),
        "string": elements("ä".encode()),
        "binary": elements(b"\x00\xff"),
        "datetime": elements(b"2024-01-31"),
    }
    document = {
        "inputs": [
            {
                "name": name,
                "datatype": "INT64" if name == "id" else "BYTES",
                "shape": [1],
                "parameters": {"binary_data_size": len(value)},
            }
            for name, value in raw.items()
        ]
    }

    frame = {
        name: values for name, _, values in echoed(ask("optional").behind(document, *raw.values()))["input"]["frame"]
    }

    assert frame["string"] == ["str 'ä'"]
    assert frame["binary"] == [r"bytes b'\x00\xff'"]
    assert frame["datetime"] == ["Timestamp Timestamp('2024-01-31 00:00:00')"]


def test_tensors_in_the_json_and_behind_it_go_together(ask: Ask) -> None:
    mask = np.array([True])
    document = inputs(
        {"name": "mask", "datatype": "BOOL", "shape": [1], "parameters": {"binary_data_size": 1}},
        tensor("ids", "INT64", [1, 2], [1, 2]),
    )

    assert echoed(ask("tensors").behind(document, mask.tobytes()))["input"]["ids"]["values"] == ["int 1", "int 2"]


WINE = inputs(tensor("input-0", "FP64", [2, 3], [7.4, 3.5, 9.4, 7.8, 3.2, 9.8]))


def test_an_answer_repeats_the_id_and_names_model_and_version(ask: Ask) -> None:
    answer = json.loads(ask("wine")("v2", WINE | {"id": "order-66"}).body)

    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("order-66", "m", "3")
    assert [(output["name"], output["datatype"], output["shape"]) for output in answer["outputs"]] == [
        ("output-0", "FP64", [2])
    ]


@pytest.mark.parametrize(
    ("outputs", "parameters", "behind"),
    [
        (None, {}, False),
        (None, {"binary_data_output": True}, True),
        ([{"name": "output-0"}], {"binary_data_output": True}, True),
        ([{"name": "output-0", "parameters": {"binary_data": True}}], {}, True),
        ([{"name": "output-0", "parameters": {"binary_data": False}}], {"binary_data_output": True}, False),
    ],
    ids=["not asked", "asked for all", "asked for all, and named", "asked for one", "one excepted"],
)
def test_an_output_is_in_the_json_or_after_it_as_the_client_asks(
    outputs: Any, parameters: Any, behind: bool, ask: Ask
) -> None:
    wish = {"parameters": parameters, **({"outputs": outputs} if outputs else {})}
    answer = ask("wine")("v2", WINE | wish)
    expected = json.loads(ask("wine")("v2", WINE).body)["outputs"][0]["data"]
    length = int(dict(answer.headers).get(b"inference-header-content-length", len(answer.body)))
    (output,) = json.loads(answer.body[:length])["outputs"]

    found = np.frombuffer(answer.body[length:]).tolist() if behind else output["data"]

    assert found == expected
    assert ("data" in output) is not behind
    assert answer.media_type == (b"application/octet-stream" if behind else b"application/json")


@pytest.mark.parametrize(
    ("expression", "outputs"),
    [
        (
            "pd.DataFrame({'a': [1, 2], 'b': ['x', None]})",
            [("a", "INT64", [2, 1], [1, 2]), ("b", "BYTES", [2, 1], ['"x"', "null"])],
        ),
        ("pd.Series([0.5, float('nan')], name='p')", [("p", "FP64", [2, 1], [0.5, None])]),
        (
            "{'p': np.array([[1, 2]], dtype='int8'), 'q': [True]}",
            [("p", "INT8", [1, 2], [1, 2]), ("q", "BOOL", [1], [True])],
        ),
        ("['a', 'b']", [("output-0", "BYTES", [2], ["a", "b"])]),
        ("[1, 2.5, None]", [("output-0", "FP64", [3], [1.0, 2.5, None])]),
        ("[[1, 2], [3]]", [("output-0", "BYTES", [2], ["[1,2]", "[3]"])]),
        ("[{'a': 1}]", [("output-0", "BYTES", [1], ['{"a":1}'])]),
        ("np.array([0.5], dtype='float16')", [("output-0", "FP32", [1], [0.5])]),
        ("np.array(['2024-01-31'], dtype='datetime64[ns]')", [("output-0", "BYTES", [1], ["2024-01-31T00:00:00"])]),
        ("[b'abc']", [("output-0", "BYTES", [1], ["YWJj"])]),
        ("np.array(['a'])", [("output-0", "BYTES", [1], ["a"])]),
        ("1.5", [("output-0", "FP64", [1], [1.5])]),
        ("None", [("output-0", "BYTES", [1], ["null"])]),
        ("np.array([])", [("output-0", "FP64", [0], [])]),
        ("[True, 1]", [("output-0", "BYTES", [2], ["true", "1"])]),
        ("[2**70]", [("output-0", "BYTES", [1], ["1180591620717411303424"])]),
        ("[1j]", None),
    ],
    ids=str,
)
def test_a_prediction_of_every_kind_is_written_as_tensors(expression: str, outputs: Any, ask: Ask) -> None:
    answer = ask("chosen")("v2", inputs(tensor("expression", "BYTES", [1], [expression])))
    document = json.loads(answer.body, parse_constant=pytest.fail)

    if outputs is None:
        assert (answer.status, document["error_code"]) == (500, "INTERNAL_ERROR")
    else:
        found = [
            (output["name"], output["datatype"], output["shape"], output["data"]) for output in document["outputs"]
        ]
        assert found == outputs
