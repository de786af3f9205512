"""Requests of MLServer's clients get here the values that MLServer answers.

The recordings are of a real MLServer (`testbed/mlserver.py`). What differs is in `compared` and in the tables here, and
docs/how-to/migrate-from-mlserver.md says it.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving_runtime.model import Model, load
from serving_runtime.protocols.open_inference.datatypes import BYTES
from serving_runtime.protocols.open_inference.metadata import metadata_of
from serving_runtime.protocols.open_inference.raw import read_elements
from testbed.infer_messages import Response
from testbed.mlserver import Exchange, models, recorded
from tests.serving_runtime.protocols.conftest import Asked

Load = Callable[[str], Model]
EXCHANGES = recorded()
PREDICTED = {200, "OK"}


def chosen(fits: Callable[[Exchange], bool]) -> pytest.MarkDecorator:
    found = list(filter(fits, EXCHANGES))
    return pytest.mark.parametrize("exchange", found, ids=[exchange["name"] for exchange in found])


def infers(exchange: Exchange) -> bool:
    return exchange.get("path", "").endswith("/infer") or exchange.get("call") == "ModelInfer"


@pytest.fixture(scope="module")
def mlserver_model(tmp_path_factory: pytest.TempPathFactory) -> Load:
    directory = models(tmp_path_factory.mktemp("mlserver-models"))
    loaded: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in loaded:
            loaded[name] = load(directory / name)
        return loaded[name]

    return get


def ask(exchange: Exchange, model: Model) -> Any:
    """Return this project's answer to the request."""
    asked = Asked(model=model, name=exchange["model"])
    if "call" in exchange:
        return asked("grpc", base64.b64decode(exchange["request"]))
    protocol = "invocations" if exchange["path"] == "/invocations" else "v2"
    headers = {b"content-type": exchange["media_type"].encode()}
    names = exchange["path"].split("/")
    path = {"model": names[3], **({"version": names[5]} if "versions" in names else {})} if len(names) > 3 else {}
    return asked(protocol, exchange["request"].encode(), headers, path)


def document_of(answer: bytes) -> dict[str, Any]:
    """Return a ModelInferResponse as the JSON that means the same."""
    response = Response.FromString(answer)
    outputs = []
    for index, output in enumerate(response.outputs):
        if response.raw_output_contents:
            raw = response.raw_output_contents[index]
            numbers = {"BOOL": "?", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}
            elements = read_elements(memoryview(raw), int(np.prod(output.shape))) if output.datatype == BYTES else []
            values = elements or np.frombuffer(raw, numbers.get(output.datatype, "?")).tolist()
        else:
            ((_, contents),) = output.contents.ListFields()
            values = list(contents)
        outputs.append(
            {
                "name": output.name,
                "shape": list(output.shape),
                "datatype": output.datatype,
                "parameters": {"content_type": output.parameters["content_type"].string_param},
                "data": [value.decode() if isinstance(value, bytes) else value for value in values],
            }
        )
    return {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "parameters": {"content_type": response.parameters["content_type"].string_param},
        "outputs": outputs,
    }


def compared(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without what is known to differ.

    MLServer calls the only output `output-1`, and the shape of a flat array [n, 1]. Its frames leave the content type
    of numbers out.
    """
    outputs = answer["outputs"]
    return {
        "model": (answer["model_name"], answer["model_version"]),
        "id": answer.get("id"),
        "content_type": answer["parameters"]["content_type"],
        "outputs": [
            {
                "name": output["name"] if len(outputs) > 1 else None,
                "shape": output["shape"] if len(output["shape"]) > 1 else [*output["shape"], 1],
                "datatype": output["datatype"],
                "content_type": output.get("parameters", {}).get("content_type") or "np",
                "data": list(map(_value, output["data"])),
            }
            for output in outputs
        ],
    }


def _value(value: Any) -> Any:
    """Return a text of JSON as what it means: spaces and the order of keys do not matter."""
    return json.loads(value) if isinstance(value, str) and value[:1] in {"[", "{"} else value


@chosen(lambda exchange: infers(exchange) and exchange["status"] in PREDICTED)
def test_prediction_has_the_values_of_mlserver(exchange: Exchange, mlserver_model: Load) -> None:
    answer = ask(exchange, mlserver_model(exchange["model"]))
    assert answer.status == 200, answer.body
    if "call" in exchange:
        ours, theirs = document_of(answer.body), document_of(base64.b64decode(exchange["answer"]))
    else:
        ours, theirs = json.loads(answer.body), exchange["answer"]

    assert compared(ours) == compared(theirs)


@chosen(lambda exchange: exchange.get("path") == "/invocations")
def test_invocations_have_the_values_of_mlserver(exchange: Exchange, mlserver_model: Load) -> None:
    assert exchange["status"] == 200
    assert json.loads(ask(exchange, mlserver_model("wine")).body) == exchange["answer"]


# MLServer's 500 is a column that is missing, and its 422 a body that is not of the protocol.
STATUSES = {500: 400, 422: 400, 404: 404}
# The only tensor is the only column here, whatever its name.
ANSWERED = {"texts as the whole request for a column with a name"}


@chosen(lambda exchange: infers(exchange) and exchange["status"] not in PREDICTED)
def test_refusal_has_the_shape_of_mlserver(exchange: Exchange, mlserver_model: Load) -> None:
    served = "wine" if exchange["model"] == "nowhere" else exchange["model"]
    answer = ask({**exchange, "model": served}, mlserver_model(served))

    if exchange["name"] in ANSWERED:
        assert answer.status == 200, answer.body
    else:
        assert answer.status == STATUSES[exchange["status"]]
        assert isinstance(json.loads(answer.body)["error"], str)


@chosen(lambda exchange: exchange["name"].startswith("metadata of"))
def test_metadata_are_those_of_mlserver(exchange: Exchange, mlserver_model: Load) -> None:
    theirs = exchange["answer"]
    ours = metadata_of(Asked(model=mlserver_model(exchange["model"]), name=exchange["model"]).served)

    for key in ("name", "inputs", "outputs"):
        assert ours[key] == theirs.get(key, []), key


def test_recordings_are_of_every_codec_and_way() -> None:
    sent = "".join(json.dumps(exchange) for exchange in EXCHANGES)

    for content_type in ("np", "pd", "str", "base64", "datetime", "dict", "pd_json"):
        assert f'\\"content_type\\": \\"{content_type}\\"' in sent or f'\\"content_type\\":\\"{content_type}\\"' in sent
    assert {exchange.get("call") for exchange in EXCHANGES} >= {"ModelInfer", "ModelMetadata", "ServerLive"}
