"""The Open Inference Protocol over gRPC: the other protocols' cases, with the same values or the same refusals."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import InferResult, service_pb2

from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.options import Nan
from serving_runtime.protocols.interface import Message, Prediction, ServedModel
from serving_runtime.protocols.open_inference.datatypes import DATATYPES, datatype_of
from serving_runtime.protocols.open_inference.messages import INFERENCE, read_infer, weight_of
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from serving_runtime.signature import Signature, Tensor
from testbed.infer_messages import Request, Response, message_of
from tests.serving_runtime.protocols.test_bad_tensors import WRONG, one
from tests.serving_runtime.protocols.test_open_inference import NUMBERS, SAME, WINE, elements, inputs, tensor
from tests.serving_runtime.protocols.test_outputs import BEHIND, REFUSED, WRITTEN, read_by_triton, written
from tests.serving_runtime.protocols.test_same_by_all import described, dtypes, takes, unhurried

Ask = Callable[[str], Any]
WAYS = pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
# A message has no null, no list as a parameter, and takes bytes as they are.
ONLY_IN_JSON = {"null among doubles", "parameters", "every type of a column"}


def echoed(answer: Any) -> Any:
    """Return the input of the model's call, as the model reports it."""
    response = Response.FromString(answer.body)
    (raw,) = response.raw_output_contents or response.outputs[0].contents.bytes_contents
    return json.loads(raw[4:] if response.raw_output_contents else raw)


@WAYS
@pytest.mark.parametrize("sentence", sorted(SAME.keys() - ONLY_IN_JSON))
def test_model_sees_the_same_as_by_mlflows_protocol(sentence: str, raw: bool, ask: Ask) -> None:
    name, body, same = SAME[sentence]
    asked = ask(name)
    message = message_of(body, raw=raw)

    answer = asked("grpc", message.SerializeToString())

    assert echoed(answer) == json.loads(asked("invocations", same).body)["predictions"]


@WAYS
def test_scalars_of_every_type_are_the_same_and_bytes_need_no_base64(raw: bool, ask: Ask) -> None:
    name, body, same = SAME["every type of a column"]
    entries = [
        entry | ({"data": [base64.b64decode(entry["data"][0])]} if entry["name"] == "binary" else {})
        for entry in body["inputs"]
    ]
    answer = ask(name)("grpc", message_of({"inputs": entries}, raw=raw).SerializeToString())

    assert echoed(answer) == json.loads(ask(name)("invocations", same).body)["predictions"]


@WAYS
def test_parameters_of_the_signature_reach_the_model(raw: bool, ask: Ask) -> None:
    body = inputs(tensor("x", "INT64", [1], [1]), parameters={"k": 5, "binary_data_output": False, "priority": 1})
    same = {"inputs": {"x": [1]}, "params": {"k": 5}}

    answer = ask("params")("grpc", message_of(body, raw=raw).SerializeToString())

    assert echoed(answer) == json.loads(ask("params")("invocations", same).body)["predictions"]


@WAYS
@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_are_seen_as_they_are(datatype: str, raw: bool, ask: Ask) -> None:
    values = NUMBERS[datatype]
    entry = {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": values.nbytes}}
    message = Request(model_name="m", inputs=[{"name": "x", "datatype": datatype, "shape": [2]}])
    if raw:
        message.raw_input_contents.append(values.tobytes())
    elif datatype != "FP16":
        message = message_of(inputs(tensor("x", datatype, [2], values.tolist())), raw=False)

    answer = ask("free")("grpc", message.SerializeToString())

    if datatype == "FP16" and not raw:
        assert "FP16 has no contents" in json.loads(answer.body)["error"]
    else:
        expected = ask("free").behind({"inputs": [entry]}, values.tobytes())
        assert echoed(answer) == json.loads(json.loads(expected.body)["outputs"][0]["data"][0])


@unhurried
@given(dtype=dtypes.filter(lambda dtype: dtype.kind != "U"), data=st.data())
def test_numbers_are_the_same_as_behind_the_json(dtype: np.dtype[Any], data: st.DataObject) -> None:
    signature = Signature(tensors=(Tensor(name=None, dtype=dtype, shape=(-1,)),))
    limits = None if dtype.kind in "bf" else np.iinfo(dtype)
    one_value: st.SearchStrategy[Any] = (
        st.integers(int(limits.min), int(limits.max))
        if limits is not None
        else st.booleans()
        if dtype.kind == "b"
        else st.floats(width=8 * dtype.itemsize)  # type: ignore[arg-type]  # 32 or 64
    )
    array = np.array(data.draw(st.lists(one_value, max_size=5)), dtype=dtype)
    datatype, size = datatype_of(dtype), len(array)
    served = served_with(signature)
    document = json.dumps(
        {
            "inputs": [
                {"name": "t", "datatype": datatype, "shape": [size], "parameters": {"binary_data_size": array.nbytes}}
            ]
        }
    ).encode()
    behind = OPEN_INFERENCE.read(
        Message(
            body=document + array.tobytes(),
            headers={b"inference-header-content-length": b"%d" % len(document)},
            path={"model": "m"},
        ),
        served,
    )
    typed = message_of(inputs(tensor("t", datatype, [size], array.tolist())), raw=False)
    raw = Request(model_name="m", inputs=[{"name": "t", "datatype": datatype, "shape": [size]}])
    raw.raw_input_contents.append(array.tobytes())

    found = [seen(message.SerializeToString(), served) for message in (typed, raw)]

    assert found == [described(behind.data)] * 2


def served_with(signature: Signature) -> ServedModel:
    return ServedModel(
        name="m", version=None, metadata=SimpleNamespace(signature=signature), conform=conformer(signature)
    )  # type: ignore[arg-type]


def seen(body: bytes, served: ServedModel) -> Any:
    """Return the input that the model would get, or the refusal's details."""
    try:
        return described(read_infer(Message(body=body, headers={}, path={}), served).data)
    except ServingError as error:
        assert error.status in {400, 404}
        return error.details


def over_http(body: dict[str, Any], message: Any, ask: Ask) -> Any:
    """Return the answer to the same tensors over HTTP, behind the JSON if they are raw in the message."""
    if not message.raw_input_contents:
        return ask("one-long")("v2", body)
    raws = list(message.raw_input_contents)
    heads = [
        {key: value for key, value in entry.items() if key != "data"}
        | {"parameters": entry.get("parameters", {}) | {"binary_data_size": len(raw)}}
        for entry, raw in zip(body["inputs"], raws, strict=True)
    ]
    return ask("one-long").behind(body | {"inputs": heads}, *raws)


@WAYS
def test_wrong_tensors_are_refused_as_over_http(raw: bool, ask: Ask) -> None:
    asked = set()
    for sentence, (body, _, _) in WRONG.items():
        if sentence in {"another shape than the data has", "ragged data", "FP16 in the JSON"}:  # a message has none
            continue
        try:
            message = message_of(body, raw=raw)
        except (AttributeError, KeyError, TypeError, ValueError):  # what no message can hold, such as null
            continue
        refused = ask("one-long")("grpc", message.SerializeToString())
        assert (refused.status, refused.body) == (400, over_http(body, message, ask).body), sentence
        asked.add(sentence)

    assert {"a shape that says more", "another column", "a name twice", "an output that there is not"} <= asked
    assert len(asked) >= 9, asked


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"inputs": []}, "inputs must have a tensor"),
        ({"inputs": [{}]}, "where the model takes a name"),
        ({"inputs": [{"name": "x", "datatype": "BF16", "shape": [1]}]}, "an unknown datatype"),
        ({"inputs": [{"name": "x", "datatype": "INT64", "shape": [-1]}]}, "whole numbers, 0 or more"),
        ({"inputs": [{"name": "x", "datatype": "INT64", "shape": [2**62, 2**62]}]}, "the shape has too many"),
        ({"inputs": [{"name": "x", "datatype": "INT64", "shape": [2]}]}, "0 values, where the shape [2] has 2"),
        (
            {
                "inputs": [
                    {
                        "name": "x",
                        "datatype": "INT64",
                        "shape": [2],
                        "parameters": {"shared_memory_region": {"string_param": "r"}},
                    }
                ]
            },
            "there is no shared memory here",
        ),
        (
            {
                "inputs": [
                    {"name": "y", "datatype": "INT64", "shape": [1]},
                    {
                        "name": "x",
                        "datatype": "INT64",
                        "shape": [1],
                        "parameters": {"shared_memory_region": {"string_param": "r"}},
                    },
                ],
                "raw_input_contents": [bytes(8)],
            },
            "there is no shared memory here",
        ),
        (
            {
                "inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [1]}}],
                "outputs": [{"name": "output-0", "parameters": {"classification": {"int64_param": 2}}}],
            },
            "there are no classes here",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "contents": {"fp64_contents": [1.0]}}]},
            "fp64_contents, where INT64 has int64_contents",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "contents": {"int_contents": [300]}}]},
            "a number out of range, where INT8 takes",
        ),
        (
            {
                "inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [1]}}],
                "raw_input_contents": [bytes(8)],
            },
            "either contents or raw_input_contents, not both",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1]}], "raw_input_contents": [bytes(8)] * 2},
            "raw_input_contents has 2 tensors, and inputs has 1",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT64", "shape": [2]}], "raw_input_contents": [bytes(8)]},
            "8 bytes, but 2 values of INT64 have 16",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "BOOL", "shape": [1]}], "raw_input_contents": [b"\2"]},
            "a byte other than 0 and 1",
        ),
        (
            {
                "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1]}],
                "raw_input_contents": [struct.pack("<I", 2**32 - 1)],
            },
            "a length beyond the end",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1]}], "raw_input_contents": [elements(b"\xff")]},
            "bytes that are no UTF-8",
        ),
        ({"parameters": {"k": {}}, "inputs": [{"name": "x", "datatype": "INT64", "shape": [0]}]}, "without a value"),
    ],
)
def test_message_that_breaks_the_protocol_is_refused(message: dict[str, Any], problem: str, ask: Ask) -> None:
    refused = ask("one-long")("grpc", Request(model_name="m", **message).SerializeToString())

    assert refused.status == 400
    assert problem in json.loads(refused.body)["error"]


@pytest.mark.parametrize(
    ("name", "version", "status"),
    [("m", "", 200), ("m", "3", 200), ("m", "4", 404), ("other", "", 404), ("", "", 404)],
)
def test_only_the_model_that_is_served_answers(name: str, version: str, status: int, ask: Ask) -> None:
    message = message_of(one(), raw=True, model=name, version=version)

    assert ask("one-long")("grpc", message.SerializeToString()).status == status


@settings(unhurried, max_examples=300)
@given(signature=takes, data=st.data())
def test_random_message_is_read_or_refused(signature: Signature, data: st.DataObject) -> None:
    names, shapes = st.sampled_from(["a", "b", "t", ""]), st.lists(st.integers(-1, 5), max_size=3)
    message = Request(model_name="m")
    for _ in range(data.draw(st.integers(0, 3))):
        entry = message.inputs.add(
            name=data.draw(names), datatype=data.draw(st.sampled_from([*DATATYPES, "X"])), shape=data.draw(shapes)
        )
        entry.contents.fp64_contents.extend(data.draw(st.lists(st.floats(), max_size=3)))
        entry.contents.bytes_contents.extend(data.draw(st.lists(st.binary(max_size=3), max_size=3)))
        if not entry.contents.ListFields():
            entry.ClearField("contents")
    message.raw_input_contents.extend(data.draw(st.lists(st.binary(max_size=20), max_size=3)))
    body = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(0, 2))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    seen(bytes(body), served_with(signature))


LARGE = np.arange(20_000, dtype="float64")


def large() -> Any:
    message = Request(model_name="m", inputs=[{"name": "t", "datatype": "FP64", "shape": [20_000]}])
    message.raw_input_contents.append(LARGE.tobytes())
    return message


def test_large_raw_tensor_is_read_as_it_is_and_may_be_written_to() -> None:
    served = served_with(Signature(tensors=(Tensor(name=None, dtype=np.dtype("float64"), shape=(-1,)),)))
    body = large().SerializeToString()
    data = read_infer(Message(body=body, headers={}, path={}), served).data

    np.testing.assert_array_equal(data, LARGE)
    data[0] = 1.0
    assert weight_of(body) < len(body) / 16


@WAYS
def test_message_like_one_before_has_its_own_values_id_and_model(raw: bool) -> None:
    signature = Signature(tensors=(Tensor(name=None, dtype=np.dtype("float64"), shape=(-1,)),))
    served, other = served_with(signature), replace(served_with(signature), name="other")
    for request_id in ("", "order-66", "order-67"):
        for value in (1.5, 2.5):
            body = inputs(tensor("t", "FP64", [1], [value]), id=request_id)
            message = Message(body=message_of(body, raw=raw).SerializeToString(), headers={}, path={})
            read = read_infer(message, served)
            response = Response.FromString(read.write(Prediction(value=read.data, seconds=0.0), served).body)
            found = response.raw_output_contents or response.outputs[0].contents.fp64_contents

            assert (response.id, list(found)) == (request_id, [np.float64(value).tobytes()] if raw else [value])
            with pytest.raises(ServingError, match="there is no model of this name"):
                read_infer(message, other)


@pytest.mark.parametrize(
    ("raws", "problem"),
    [([bytes(8)] * 2, "has 2 tensors, and inputs has 1"), ([bytes(16)], "16 bytes, but 1 values"), ([], "0 values")],
)
def test_wrong_bytes_after_a_head_that_was_read_before_are_refused(raws: list[bytes], problem: str) -> None:
    served = served_with(Signature(tensors=(Tensor(name=None, dtype=np.dtype("float64"), shape=(-1,)),)))
    head = {"model_name": "m", "inputs": [{"name": "t", "datatype": "FP64", "shape": [1]}]}
    good, wrong = (Request(**head, raw_input_contents=given).SerializeToString() for given in ([bytes(8)], raws))

    read_infer(Message(body=good, headers={}, path={}), served)

    with pytest.raises(ServingError, match=problem):
        read_infer(Message(body=wrong, headers={}, path={}), served)


@pytest.mark.parametrize(
    "changed",
    [
        lambda body: body[:-1],
        lambda body: body + b"\x3a",
        lambda body: body + b"\x3a\xff\xff\xff\xff\x0f",
        lambda body: body + b"\xff" * 20,
        lambda body: body + b"\x07",
    ],
    ids=["cut", "a tag", "a length beyond the end", "an endless number", "an unknown kind of field"],
)
def test_large_message_that_is_no_protobuf_is_refused(changed: Callable[[bytes], bytes], ask: Ask) -> None:
    body = changed(large().SerializeToString())

    assert json.loads(ask("free")("grpc", body).body)["error"] == "the message is no inference.ModelInferRequest"
    assert weight_of(body) == len(body)


def test_large_message_of_many_fields_or_texts_is_read_as_json_is() -> None:
    many = Request(model_name="m", outputs=[{"name": "x" * 40} for _ in range(2000)]).SerializeToString()
    texts = Request(model_name="m", inputs=[{"name": "t", "datatype": "BYTES", "shape": [1]}])
    texts.raw_input_contents.append(elements(b"a" * 50_000))

    assert weight_of(many) == len(many)
    assert weight_of(texts.SerializeToString()) == len(texts.SerializeToString())


@WAYS
@pytest.mark.parametrize("sentence", WRITTEN)
def test_returned_value_is_the_same_as_behind_the_json(sentence: str, raw: bool) -> None:
    value = WRITTEN[sentence]()
    expected = read_by_triton(written(BEHIND, value))

    response = service_pb2.ModelInferResponse.FromString(answered(value, raw=raw))
    result = InferResult(response)

    for output, values in expected:
        found = result.get_output(output["name"])
        assert (found.datatype, list(found.shape)) == (output["datatype"], list(output["shape"]))
        assert found.parameters["content_type"].string_param == output["parameters"]["content_type"]
        flat = result.as_numpy(output["name"]).ravel() if raw else contents(found)
        np.testing.assert_array_equal(flat, values.ravel())
    assert len(expected) == len(response.outputs)
    assert bool(response.raw_output_contents) is raw


def contents(output: Any) -> Any:
    """Return the values that are not raw; Triton's client reads those of BYTES only."""
    found = [list(values) for _, values in output.contents.ListFields()]
    return np.array(found[0] if found else [], dtype=object if output.datatype == "BYTES" else None)


def answered(value: Any, *, raw: bool) -> bytes:
    served = ServedModel(
        name="m", version=None, metadata=SimpleNamespace(signature=Signature()), conform=conformer(Signature())
    )  # type: ignore[arg-type]
    message = message_of(inputs(tensor("x", "INT64", [1], [1])), raw=raw)
    read = read_infer(Message(body=message.SerializeToString(), headers={}, path={}), served)
    return read.write(Prediction(value=value, seconds=0.0), served).body


@pytest.mark.parametrize("sentence", REFUSED)
def test_returned_value_that_no_answer_can_hold_is_refused(sentence: str) -> None:
    make, kind = REFUSED[sentence]

    with pytest.raises(ServingError, match=f"the model returned {kind}"):
        answered(make(), raw=True)


def test_half_precision_is_raw_also_for_a_client_that_sent_contents() -> None:
    response = Response.FromString(answered(np.array([0.5], dtype="float16"), raw=False))

    assert (response.outputs[0].datatype, response.raw_output_contents) == ("FP16", [np.float16(0.5).tobytes()])


def test_nan_is_itself_whatever_the_setting_for_json_says(ask: Ask) -> None:
    asked = type(ask("chosen"))(model=ask("chosen").model, nan=Nan.STRING)
    body = inputs(tensor("expression", "BYTES", [1], ["[1.5, float('nan')]"]))
    response = Response.FromString(asked("grpc", message_of(body, raw=False).SerializeToString()).body)

    np.testing.assert_array_equal(list(response.outputs[0].contents.fp64_contents), [1.5, np.nan])


def test_answer_repeats_the_id_and_names_model_and_version(ask: Ask) -> None:
    message = message_of(WINE | {"id": "order-66", "outputs": [{"name": "output-0"}]}, raw=True)
    response = Response.FromString(ask("wine")("grpc", message.SerializeToString()).body)

    assert (response.id, response.model_name, response.model_version) == ("order-66", "m", "3")
    assert [(output.name, output.datatype, output.shape) for output in response.outputs] == [("output-0", "FP64", [2])]


def test_messages_are_those_of_tritons_clients() -> None:
    theirs = FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(theirs)
    their_messages = {message.name: message for message in theirs.message_type}
    their_methods = {method.name: method for method in theirs.service[0].method}

    for message in INFERENCE.descriptor.message_type:
        assert fields(message) == fields(their_messages[message.name])
    for method in INFERENCE.descriptor.service[0].method:
        assert method.input_type == their_methods[method.name].input_type
        assert method.output_type == their_methods[method.name].output_type


def fields(message: Any) -> Any:
    """Return names, numbers and types of the fields, and those of the messages inside."""
    own = {(field.name, field.number, field.label, field.type, field.type_name) for field in message.field}
    return own, {nested.name: fields(nested) for nested in message.nested_type}
