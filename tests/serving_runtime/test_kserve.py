"""The serving runtime's manifest: the pod that KServe makes of it, and its command with a model in
place of the volume.
"""

import json
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving_runtime.commands.manifest import inference_service
from testbed.infer_messages import message_of
from testbed.kserve import MODELS, pod_of
from testbed.processes import free_port, installed, running
from testbed.rpc_client import INFER, rpc_client
from testbed.runtime_server import JSON, RuntimeServer

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "manifests" / "components" / "kserve" / "cluster-serving-runtime.yaml"
SERVICE = inference_service("wine", "s3://models/wine")
SERVICE["spec"]["predictor"]["model"]["args"] = ["--workers=1"]


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return pod_of(yaml.safe_load(MANIFEST.read_text()), SERVICE)


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


@pytest.fixture(scope="module")
def server(
    container: dict[str, Any], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RuntimeServer]:
    """The image's entry point with the pod's arguments; the port and the mount are this machine's."""
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "Dockerfile.runtime").read_text(), re.MULTILINE)[-1])
    port, grpc_port, directory = free_port(), free_port(), tmp_path_factory.mktemp("kserve")
    here = {MODELS: str(models / "wine"), "=8080": f"={port}", "=9000": f"={grpc_port}"}
    arguments = [
        reduce(lambda text, place: text.replace(*place), here.items(), argument) for argument in container["args"]
    ]
    with running(
        [installed(entry[0]), *entry[1:], *arguments], log=directory / "log", env={}, cwd=directory
    ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}{container['startupProbe']['httpGet']['path']}", seconds=120)
        yield RuntimeServer(port=port, process=process, grpc_port=grpc_port)


def test_arguments_name_the_model_as_the_inference_service_is_named(container: dict[str, Any]) -> None:
    ports = ["--port=8080", "--grpc-port=9000"]
    assert container["args"] == ["serve", "--model-name=wine", "--model-path=/mnt/models", *ports, "--workers=1"]


def test_runtime_version_of_an_inference_service_is_the_images_tag() -> None:
    service = {
        "metadata": {"name": "wine"},
        "spec": {"predictor": {"model": {"storageUri": "pvc://x", "runtimeVersion": "0.2.0-xgboost"}}},
    }

    pod = pod_of(yaml.safe_load(MANIFEST.read_text()), service)

    assert pod["spec"]["containers"][0]["image"] == "model-api-runtime:0.2.0-xgboost"


def test_container_may_run_in_a_restricted_namespace(container: dict[str, Any]) -> None:
    context = container["securityContext"]

    assert (context["runAsNonRoot"], context["allowPrivilegeEscalation"], context["capabilities"]) == (
        True,
        False,
        {"drop": ["ALL"]},
    )


def test_grpc_answers_at_the_second_port(container: dict[str, Any], server: RuntimeServer) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [7.4, 3.5, 9.4]}]}
    with rpc_client(server.grpc_port) as client:
        answer = client.call(INFER, message_of(body, raw=True, model="wine").SerializeToString())

    assert answer.status == "OK", answer.details
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [("http1", 8080), ("h2c", 9000)]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_of_the_pod_are_answered(probe: str, container: dict[str, Any], server: RuntimeServer) -> None:
    asked = container[probe]["httpGet"]

    assert (asked["port"], server.get(asked["path"]).status) == (8080, 200)


def test_both_protocols_of_kserve_predict_the_same(server: RuntimeServer) -> None:
    v1 = server.ask("POST", "/v1/models/wine:predict", json.dumps({"instances": [[7.4, 3.5, 9.4]]}), JSON)
    tensor = {"name": "input-0", "shape": [1, 3], "datatype": "FP64", "data": [7.4, 3.5, 9.4]}
    v2 = server.ask("POST", "/v2/models/wine/infer", json.dumps({"inputs": [tensor]}), JSON)

    assert (v1.status, v2.status) == (200, 200), (v1.body, v2.body)
    assert v1.document["predictions"] == v2.document["outputs"][0]["data"]


def test_model_of_another_name_is_not_found(server: RuntimeServer) -> None:
    assert server.get("/v1/models/beer").status == 404
