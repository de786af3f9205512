"""Clients of other servers find nothing missing: tritonclient, KServe's own, and users of MLServer's codecs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from testbed.environments import python_of
from testbed.runtime_server import JSON, NATIVE, RuntimeServer, serving

SCRIPTS = Path(__file__).parent / "scripts"
ROWS = np.array([[7.4, 3.5, 9.4], [6.3, 3.2, 10.1]])
NAMES = ("fixed acidity", "pH", "alcohol")


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = (*NATIVE, "--workers", "1", "--model-name", "wine", "--model-version", "3")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("clients") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def chosen(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    """Predicts what it is told to."""
    flags = ("--workers", "1", "--model-name", "wine")
    with serving(models / "chosen", *flags, log=tmp_path_factory.mktemp("chosen") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def expected(server: RuntimeServer) -> list[float]:
    answer = server.predict({"dataframe_split": {"columns": NAMES, "data": ROWS.tolist()}})
    predictions: list[float] = answer.document["predictions"]
    return predictions


@pytest.fixture
def client(server: RuntimeServer) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def matrix(*, binary: bool) -> list[Any]:
    tensor = triton.InferInput("input-0", ROWS.shape, "FP64")
    tensor.set_data_from_numpy(ROWS, binary_data=binary)
    return [tensor]


@pytest.mark.parametrize("binary", [False, True], ids=["in the JSON", "behind it"])
@pytest.mark.parametrize(
    "answered", [None, False, True], ids=["answer as it likes", "answer in the JSON", "answer behind it"]
)
def test_tritonclient_gets_what_the_model_predicts(
    client: Any, binary: bool, answered: bool | None, expected: list[float]
) -> None:
    outputs = None if answered is None else [triton.InferRequestedOutput("output-0", binary_data=answered)]

    result = client.infer("wine", matrix(binary=binary), outputs=outputs, request_id="order-66")

    assert result.as_numpy("output-0").tolist() == expected
    assert result.get_response()["id"] == "order-66"


def test_tritonclient_sends_columns_by_name(client: Any, expected: list[float]) -> None:
    tensors = [triton.InferInput(name, [2, 1], "FP64") for name in NAMES]
    for index, tensor in enumerate(tensors):
        tensor.set_data_from_numpy(ROWS[:, index : index + 1])

    assert client.infer("wine", tensors, model_version="3").as_numpy("output-0").tolist() == expected


@pytest.mark.parametrize("binary", [False, True], ids=["in the JSON", "behind it"])
def test_tritonclient_sends_and_reads_texts(chosen: RuntimeServer, binary: bool) -> None:
    tensor = triton.InferInput("expression", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["['ä', 'b']"], dtype=object), binary_data=binary)
    with triton.InferenceServerClient(f"127.0.0.1:{chosen.port}") as client:
        result = client.infer("wine", [tensor])

    assert [text.decode() for text in result.as_numpy("output-0")] == ["ä", "b"]


def test_tritonclient_finds_server_and_model(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("wine")
    assert client.is_model_ready("wine", "3")
    assert not client.is_model_ready("wine", "4")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_repository_index() == [{"name": "wine", "version": "3", "state": "READY", "reason": ""}]
    metadata = client.get_model_metadata("wine")
    assert (metadata["versions"], metadata["platform"]) == (["3"], "mlflow")
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in metadata["inputs"]] == [
        (name, "FP64", [-1, 1]) for name in NAMES
    ]
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in metadata["outputs"]] == [
        ("output-0", "FP64", [-1])
    ]


def test_tritonclient_reads_why_it_is_refused(client: Any) -> None:
    tensor = triton.InferInput("pH", [1], "FP64")
    tensor.set_data_from_numpy(np.array([1.0]))

    with pytest.raises(InferenceServerException) as refused:
        client.infer("wine", [tensor])

    assert refused.value.status() == "400"
    assert 'the column "fixed acidity" is missing' in refused.value.message()


def answers(environment: str, script: str, *ports: int) -> dict[str, Any]:
    command = [python_of(environment), SCRIPTS / script, *map(str, ports)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_kserves_client_gets_what_the_model_predicts(server: RuntimeServer, expected: list[float]) -> None:
    found = answers("peer-kserve", "ask_kserve.py", server.port)

    assert "inputs must be an array of tensors" in found.pop("refused")
    assert found == {
        "live": True,
        "ready": True,
        "model ready": True,
        "other model ready": False,
        "v2 as JSON": expected,
        "v2 behind the JSON": expected,
        "v2 behind the JSON both ways": expected,
        "v2 by columns": expected,
        "v1 live": True,
        "v1 model ready": True,
        "v1": expected,
    }


def test_mlservers_codecs_encode_what_is_read_here_and_read_what_is_answered(
    server: RuntimeServer, chosen: RuntimeServer, expected: list[float]
) -> None:
    assert answers("peer-mlserver", "ask_as_mlserver.py", server.port, chosen.port) == {
        "frame": expected,
        "array": expected,
        "texts": ["a", "b"],
        "tensor": [[1, 2], [3, 4]],
        "columns": {"n": [1.5, None], "s": ["x", "y"], "o": [{"a": 1}, [2]]},
    }


@pytest.mark.parametrize("path", ["/model", "/models/6553f0a1/latest/model", "/models/6553f0a1/labels/prod/model"])
def test_a_client_of_domino_gets_its_envelope(server: RuntimeServer, path: str, expected: list[float]) -> None:
    data = {name: ROWS[:, index].tolist() for index, name in enumerate(NAMES)}
    answer = server.ask("POST", path, json.dumps({"data": data}), JSON)

    assert answer.document["result"] == expected
    assert answer.document["release"]["registered_model_version"] == "3"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/wine/infer", 405),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/wine/versions/4/ready", 404),
        ("GET", "/v2/nowhere", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/models/wine:predict", 405),
        ("DELETE", "/v2", 405),
        ("POST", "/v2/models/wine/infer", 400),
        ("POST", "/v1/models/wine:predict", 400),
    ],
    ids=str,
)
def test_every_refusal_has_the_shape_of_its_protocol(
    server: RuntimeServer, method: str, path: str, status: int
) -> None:
    answer = server.ask(
        method, path, "{" if method == "POST" and "infer" in path else '{"instances": 1, "inputs": 1}', JSON
    )

    assert answer.status == (404 if "other" in path else status)
    assert isinstance(answer.document["error"], str)


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/wine", "/v1/models/wine"]
)
def test_pages_of_the_protocols_answer_to_head_too(server: RuntimeServer, path: str) -> None:
    head, get = server.ask("HEAD", path), server.get(path)

    assert (head.status, head.body, get.status) == (200, b"", 200)
