"""Faults that MLflow's wrappers, type hints or the model's code find: by every protocol a 4xx with the place."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.model import Model, load
from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Message, Protocol, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from testbed.environments import saved_models

SCRIPT = Path(__file__).parent / "scripts" / "save_checked_models.py"
Get = Callable[[str], Model]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Get:
    """Loads a model whose input is checked by others than the runtime."""
    directory = saved_models("3.17", SCRIPT, tmp_path_factory.mktemp("checked-models"))
    return lambda name: load(directory / name)


def refused(model: Model, body: Any, protocol: Protocol = INVOCATIONS) -> ServingError:
    signature = model.metadata.signature
    served = ServedModel(name="m", version=None, metadata=model.metadata, conform=conformer(signature))
    with pytest.raises(ServingError) as caught:
        inputs = protocol.read(Message(body=json.dumps(body).encode(), headers={}, path={"model": "m"}), served)
        model.predict_conformed(inputs.data, inputs.params)
    return caught.value


ITEMS = [{"name": "a", "size": 1}, {"name": "b", "size": "secret"}, {"name": "secret", "size": 1}, {"name": "c"}, 3]


def test_items_that_do_not_fit_a_type_hint_are_reported_by_row_and_field(checked: Get) -> None:
    error = refused(checked("typed"), {"inputs": ITEMS})

    assert error.status == 400
    assert [detail["path"] for detail in error.details] == [
        "inputs[1].size",
        "inputs[2].name",
        "inputs[3].size",
        "inputs[4]",
    ]
    assert error.details[0] | {"problem": ""} == {
        "path": "inputs[1].size",
        "problem": "",
        "expected": "a valid integer",
        "got": "a string",
    }
    assert error.details[3]["expected"] == "Item"
    assert "secret" not in error.message + json.dumps(error.details)


def test_a_value_in_a_dict_of_a_type_hint_is_reported_by_its_key(checked: Get) -> None:
    error = refused(checked("numbers"), {"inputs": [{"a": 1}, {"b": "x"}]})

    assert error.details == [
        {
            "path": "inputs[1].b",
            "problem": "a string, where the model takes a whole number",
            "expected": "a whole number",
            "got": "a string",
        }
    ]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("floats", 1, "a number without a fraction, where the model takes a number with one, such as 1.0"),
        ("numbers", {"a": 1.0}, "a number with a fraction, where the model takes a whole number, such as 1"),
    ],
)
def test_a_number_that_mlflow_takes_for_another_kind_is_refused_with_the_form_to_send(
    name: str, value: Any, problem: str, checked: Get
) -> None:
    error = refused(checked(name), {"inputs": [value]})

    assert error.details[0]["problem"] == problem


CIRCLE = {"kind": "circle", "radius": 1}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"shape": {"kind": "secret"}}, "an object whose 'kind' is one of 'circle', 'disc', 'ring', 'square'"),
        ({"shape": CIRCLE, "round": {"kind": "secret", "radius": 1}}, "'circle', 'disc' or 'ring'"),
        ({"shape": CIRCLE, "code": "secret"}, "a string of the pattern ^[a-z]{1,3}$"),
        ({"shape": CIRCLE, "size": 12345}, None),
    ],
    ids=["tag", "literal", "pattern", "the author's own error"],
)
def test_what_pydantic_expects_is_told_whole_and_without_the_value(
    item: dict[str, Any], expected: str | None, checked: Get
) -> None:
    error = refused(checked("drawings"), {"inputs": [item]})

    assert error.details[0].get("expected") == expected
    assert not {"secret", "12345"} & set(re.findall(r"\w+", error.message + json.dumps(error.details)))


def test_one_item_for_a_type_hint_of_a_list_is_refused_with_its_place(checked: Get) -> None:
    error = refused(checked("typed"), {"inputs": {"name": "a", "size": 1}})

    assert (error.status, [detail["path"] for detail in error.details]) == (400, ["inputs"])


BASE64 = ["aGk=", "_-8=", "a", "aGl="]  # the second is URL-safe, the last has bits that nobody reads


@pytest.mark.parametrize(
    ("protocol", "body", "paths"),
    [
        (INVOCATIONS, {"inputs": BASE64}, [f"inputs[{index}]" for index in (1, 2, 3)]),
        (KSERVE_V1, {"instances": BASE64}, [f"instances[{index}]" for index in (1, 2, 3)]),
        (DOMINO, {"parameters": [BASE64]}, [f"parameters[0][{index}]" for index in (1, 2, 3)]),
    ],
    ids=["invocations", "v1", "domino"],
)
def test_bytes_of_a_type_hint_are_strict_base64(protocol: Protocol, body: Any, paths: list[str], checked: Get) -> None:
    error = refused(checked("bytes"), body, protocol)

    assert error.status == 400
    assert [detail["path"] for detail in error.details] == paths


def test_bytes_in_the_lines_that_mlflow_writes_are_read(checked: Get) -> None:
    model = checked("bytes")
    served = ServedModel(name="m", version=None, metadata=model.metadata, conform=conformer(model.metadata.signature))
    inputs = INVOCATIONS.read(Message(body=b'{"inputs": ["aGk=\\n"]}', headers={}, path={}), served)

    assert model.predict_conformed(inputs.data, inputs.params) == [2]


@pytest.mark.parametrize("name", ["chat", "agent"])
@pytest.mark.parametrize(
    "messages",
    [[{"role": "user"}], [{"role": "user", "content": 5}], [5], "secret", None, []],
    ids=["no content", "a number as content", "a number", "a text", "null", "no messages"],
)
def test_wrong_messages_are_the_clients_fault(name: str, messages: Any, checked: Get) -> None:
    error = refused(checked(name), {"messages": messages})

    assert error.status == 400
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "given", [[{"role": "user"}], "hello", 5, [5]], ids=["no content", "a text", "a number", "numbers"]
)
def test_input_that_a_responses_agent_does_not_take_is_the_clients_fault(given: Any, checked: Get) -> None:
    assert refused(checked("responses"), {"input": given}).status == 400


def test_a_mistake_in_an_agents_own_code_is_not_the_clients_fault(checked: Get) -> None:
    assert refused(checked("responses"), {"input": [{"role": "user", "content": "fail"}]}).status == 500


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        (INVOCATIONS, {"dataframe_split": {"columns": ["x"], "data": []}}),
        (INVOCATIONS, {"inputs": {"x": []}}),
        (KSERVE_V1, {"inputs": {"x": []}}),
        (DOMINO, {"data": {"x": []}}),
        (OPEN_INFERENCE, {"inputs": [{"name": "x", "datatype": "FP64", "shape": [0], "data": []}]}),
    ],
    ids=["split", "columns", "v1", "domino", "v2"],
)
def test_no_rows_for_a_model_that_needs_one_are_the_clients_fault(protocol: Protocol, body: Any, checked: Get) -> None:
    error = refused(checked("needy"), body, protocol)

    assert (error.status, error.message) == (400, "input: there are no rows, and the model needs at least one")
