"""Clients of gRPC find nothing missing: tritonclient, KServe's own, and grpcurl, which knows reflection only."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from testbed.environments import python_of
from testbed.grpcurl import grpcurl
from testbed.runtime_server import NATIVE, RuntimeServer, serving
from tests.serving_runtime.server.test_clients import NAMES, ROWS, SCRIPTS

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = (*NATIVE, "--workers", "1", "--model-name", "wine", "--model-version", "3")
    log = tmp_path_factory.mktemp("rpc-clients") / "log"
    with serving(models / "wine", *flags, log=log, grpc=True) as server:
        yield server


@pytest.fixture(scope="module")
def expected(server: RuntimeServer) -> list[float]:
    answer = server.predict({"dataframe_split": {"columns": NAMES, "data": ROWS.tolist()}})
    predictions: list[float] = answer.document["predictions"]
    return predictions


@pytest.fixture(scope="module")
def client(server: RuntimeServer) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client


def matrix() -> list[Any]:
    tensor = triton.InferInput("input-0", ROWS.shape, "FP64")
    tensor.set_data_from_numpy(ROWS)
    return [tensor]


def test_tritonclient_gets_what_the_model_predicts(client: Any, expected: list[float]) -> None:
    outputs = [triton.InferRequestedOutput("output-0")]

    for wanted in (None, outputs):
        result = client.infer("wine", matrix(), model_version="3", outputs=wanted, request_id="order-66")
        assert result.as_numpy("output-0").tolist() == expected
        assert result.get_response().id == "order-66"


def test_tritonclient_sends_columns_by_name(client: Any, expected: list[float]) -> None:
    tensors = [triton.InferInput(name, [2, 1], "FP64") for name in NAMES]
    for index, tensor in enumerate(tensors):
        tensor.set_data_from_numpy(ROWS[:, index : index + 1])

    assert client.infer("wine", tensors).as_numpy("output-0").tolist() == expected


def test_tritonclient_learns_about_server_and_model(client: Any, server: RuntimeServer) -> None:
    over_http = server.get("/v2/models/wine").document
    model = client.get_model_metadata("wine", "3", as_json=True)
    index = client.get_model_repository_index(as_json=True)

    assert (client.is_server_live(), client.is_server_ready(), client.is_model_ready("wine")) == (True, True, True)
    assert client.get_server_metadata().name == "model-api-runtime"
    assert [model[key] for key in ("name", "versions", "platform")] == ["wine", ["3"], "mlflow"]
    assert [tensor["name"] for tensor in model["inputs"]] == [tensor["name"] for tensor in over_http["inputs"]]
    assert index == {"models": [{"name": "wine", "version": "3", "state": "READY"}]}


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda client: client.load_model("wine"), "UNIMPLEMENTED"),
        (lambda client: client.unload_model("wine"), "UNIMPLEMENTED"),
        (lambda client: client.get_model_config("wine"), "UNIMPLEMENTED"),
        (lambda client: client.is_model_ready("other"), "NOT_FOUND"),
        (lambda client: client.get_model_metadata("wine", "4"), "NOT_FOUND"),
        (lambda client: client.infer("other", matrix()), "NOT_FOUND"),
        (lambda client: client.infer("wine", [triton.InferInput("x", [0], "INT64")]), "INVALID_ARGUMENT"),
    ],
    ids=["load", "unload", "configuration", "another model", "another version", "predict with another", "no data"],
)
def test_tritonclient_is_refused_with_a_status(ask: Any, status: str, client: Any) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        ask(client)

    assert refusal.value.status() == f"StatusCode.{status}"


def test_kserves_client_gets_what_the_model_predicts(server: RuntimeServer, expected: list[float]) -> None:
    command = [python_of("peer-kserve"), SCRIPTS / "ask_kserve_grpc.py", str(server.grpc_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPTS)
    answers = json.loads(done.stdout.splitlines()[-1])

    assert [answers[key] for key in ("live", "ready", "model ready")] == [True, True, True]
    assert (answers["id"], answers["raw"], answers["typed"]) == ("order-66", expected, expected)
    assert answers["refused"][0] == "INVALID_ARGUMENT"
    assert 'the column "fixed acidity" is missing' in answers["refused"][1]


def test_transformer_of_kserve_gets_what_the_model_predicts(server: RuntimeServer, expected: list[float]) -> None:
    ports = (str(server.port), str(server.grpc_port))
    command = [python_of("peer-kserve"), SCRIPTS / "ask_kserve_transformer.py", *ports]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPTS)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(
        ["v1", "v2", "v2 behind the JSON", "grpc-v2"], expected
    )


def test_grpcurl_finds_all_by_reflection_and_predicts(server: RuntimeServer, expected: list[float]) -> None:
    tensor = {"name": "x", "datatype": "FP64", "shape": [2, 3], "contents": {"fp64Contents": ROWS.ravel().tolist()}}
    asked = json.dumps({"modelName": "wine", "inputs": [tensor]})

    listed = grpcurl(server.grpc_port, "list").split()
    described = grpcurl(server.grpc_port, "describe", f"{SERVICE}.ModelInfer")
    health = json.loads(grpcurl(server.grpc_port, "grpc.health.v1.Health/Check", data='{"service": ""}'))
    answer = json.loads(grpcurl(server.grpc_port, f"{SERVICE}/ModelInfer", data=asked))

    assert set(listed) == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"}
    assert "rpc ModelInfer ( .inference.ModelInferRequest ) returns ( .inference.ModelInferResponse )" in described
    assert health == {"status": "SERVING"}
    np.testing.assert_array_equal(answer["outputs"][0]["contents"]["fp64Contents"], expected)
