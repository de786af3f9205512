"""The pages of the protocols, and their routes, with and without a model."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from serving_runtime.errors import ServingError
from serving_runtime.http.routes import ROUTES, find, protocol_of_unknown_path
from serving_runtime.input.conform import conformer
from serving_runtime.model import Model
from serving_runtime.protocols.interface import Refusal, ServedModel, Status

LOADING = Status(ready=False, served=None)


def page(path: str, status: Status) -> tuple[int, Any]:
    match = find(path)
    assert match is not None and match.route.endpoint is not None
    try:
        answer = match.route.endpoint.answer(status, match.path)
    except ServingError as error:
        answer = match.route.protocol.refuse(Refusal.of(error))
    return answer.status, json.loads(answer.body)


@pytest.fixture
def status(model: Callable[[str], Model]) -> Callable[..., Status]:
    def of(name: str, *, ready: bool = True, version: str | None = "3") -> Status:
        metadata = model(name).metadata
        return Status(
            ready=ready,
            served=ServedModel(name="m", version=version, metadata=metadata, conform=conformer(metadata.signature)),
        )

    return of


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2", 200),
        ("/v2/health/live", 200),
        ("/v2/health/ready", 503),
        ("/v2/models", 503),
        ("/v2/models/m", 503),
        ("/v2/models/m/ready", 503),
        ("/v2/repository/index", 503),
        ("/v1/models", 503),
        ("/v1/models/m", 503),
    ],
)
def test_a_page_has_its_own_status_while_the_model_loads(path: str, code: int) -> None:
    assert page(path, LOADING)[0] == code


def test_a_model_that_is_not_ready_is_reported_as_not_ready(status: Callable[..., Status]) -> None:
    stopping = status("one-long", ready=False)

    assert page("/v2/health/ready", stopping) == (503, {"ready": False})
    assert page("/v2/models/m/ready", stopping) == (503, {"name": "m", "ready": False})
    assert page("/v1/models/m", stopping) == (503, {"name": "m", "ready": False})
    assert page("/v2/repository/index", stopping)[1][0]["state"] == "UNAVAILABLE"


TENSORS = {
    "scalars": [
        ("boolean", "BOOL", [-1, 1], "np"),
        ("integer", "INT32", [-1, 1], "np"),
        ("long", "INT64", [-1, 1], "np"),
        ("float", "FP32", [-1, 1], "np"),
        ("double", "FP64", [-1, 1], "np"),
        ("string", "BYTES", [-1, 1], "str"),
        ("binary", "BYTES", [-1, 1], "base64"),
        ("datetime", "BYTES", [-1, 1], "datetime"),
    ],
    "map": [("counts", "BYTES", [-1, 1], "pd_json"), ("anything", "BYTES", [-1, 1], "pd_json")],
    "unnamed": [("input-0", "FP64", [-1, 1], "np"), ("input-1", "INT64", [-1, 1], "np")],
    "image": [("input-0", "FP32", [-1, 2, 2], "np")],
    "tensors": [("ids", "INT64", [-1, 2], "np"), ("mask", "BOOL", [-1], "np")],
    "texts": [("input-0", "BYTES", [-1], "str")],
    "free": [],
}


@pytest.mark.parametrize("name", TENSORS)
def test_metadata_tells_the_tensors_of_the_signature(name: str, status: Callable[..., Status]) -> None:
    code, metadata = page("/v2/models/m", status(name))
    told = [
        (each["name"], each["datatype"], each["shape"], each["parameters"]["content_type"])
        for each in metadata["inputs"]
    ]

    assert (code, told) == (200, TENSORS[name])
    assert metadata["outputs"] == []  # MLServer does not load a model that says nothing about them


def test_a_model_without_a_version_has_none(status: Callable[..., Status]) -> None:
    without = status("one-long", version=None)

    assert page("/v2/models/m", without)[1]["versions"] == []
    assert page("/v2/models/m/versions/1", without) == (
        404,
        {"error": "the model has no such version; it has no version", "error_code": "RESOURCE_DOES_NOT_EXIST"},
    )


@pytest.mark.parametrize(
    ("path", "protocol", "values"),
    [
        ("/invocations", "invocations", {}),
        ("/v2/models/a wine/infer", "v2", {"model": "a wine"}),
        ("/v2/models/m/versions/3/infer", "v2", {"model": "m", "version": "3"}),
        ("/v1/models/m:predict", "v1", {"model": "m"}),
        ("/v1/models/a:b:predict", "v1", {"model": "a:b"}),
        ("/model", "domino", {}),
        ("/models/6553f0a1/latest/model", "domino", {"id": "6553f0a1"}),
    ],
)
def test_a_path_leads_to_its_protocol(path: str, protocol: str, values: dict[str, str]) -> None:
    match = find(path)

    assert match is not None
    assert (match.route.protocol.name, match.route.endpoint, match.path) == (protocol, None, values)


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/v2/models/a/b/infer", "v2"),
        ("/v2/models//infer", "v2"),
        ("/v1/models/m:explain/x", "v1"),
        ("/models/x/model", "invocations"),
    ],
)
def test_unknown_path_is_refused_in_the_shape_of_its_protocol(path: str, protocol: str) -> None:
    assert find(path) is None
    assert protocol_of_unknown_path(path).name == protocol


def test_every_route_has_a_pattern_of_its_own() -> None:
    assert len({route.pattern for route in ROUTES}) == len(ROUTES)


def test_routes_need_nothing_that_a_model_needs() -> None:
    code = (
        "import sys, serving_runtime.application; print([m for m in ('mlflow', 'numpy', 'pandas') if m in sys.modules])"
    )

    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
