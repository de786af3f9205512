"""Calls of gRPC are refused, counted, logged, limited and guarded as requests of HTTP are."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving_runtime.protocols.open_inference.messages import INFERENCE
from serving_runtime.rpc.health import CHECK, WATCH
from serving_runtime.rpc.reflection import INFO, OLDER_PATH
from serving_runtime.rpc.refusals import DOCUMENT
from testbed.held_calls import held_calls
from testbed.infer_messages import message_of
from testbed.processes import PATIENCE, free_port
from testbed.rpc_client import INFER, RpcClient, rpc_client
from testbed.runtime_server import JSON, NATIVE, RuntimeServer, serving
from tests.serving_runtime.server.test_observability import TRACE, numbers, of

Start = Callable[..., RuntimeServer]
TOKEN = "correct-horse/battery+staple=="
BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [7.4, 3.5, 9.4]}]}
REQUEST = message_of(BODY, raw=True, model="model").SerializeToString()
OPEN = ("ServerLive", "ServerReady")


def held_by(port: int) -> bytes:
    """Return a call for which the model waits for the port; 0 is none."""
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [float(port)]}]}
    return bytes(message_of(body, raw=True, model="model").SerializeToString())


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = (*NATIVE, "--workers", "1", "--max-body", "10K", "--max-rows", "10")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("rpc") / "log", grpc=True) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RuntimeServer) -> Iterator[RpcClient]:
    with rpc_client(server.grpc_port) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcClient]:
    directory = tmp_path_factory.mktemp("rpc-guarded")
    (directory / "token").write_text(TOKEN)
    flags = (*NATIVE, "--workers", "1", "--token-file", str(directory / "token"))
    with (
        serving(models / "wine", *flags, log=directory / "log", grpc=True) as server,
        rpc_client(server.grpc_port) as client,
    ):
        yield client


def test_prediction_is_logged_and_counted_with_the_time_of_each_step(server: RuntimeServer, client: RpcClient) -> None:
    before = numbers(server).get(of("grpc", "200"), 0.0)
    traced = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"), ("x-request-id", "order-66"))

    answer = client.call(INFER, REQUEST, metadata=traced)

    assert (answer.status, answer.metadata["x-request-id"]) == ("OK", "order-66")
    assert answer.metadata["server-timing"].startswith("read;dur=")
    (line,) = server.awaited(lambda line: line.get("request_id") == "order-66")
    assert (line["path"], line["protocol"], line["status"]) == (INFER, "grpc", 200)
    assert (line["trace_id"], line["rows"], line["bytes_in"]) == (TRACE, 1, len(REQUEST))
    assert line["predict_ms"] > 0
    server.wait_until(lambda: numbers(server)[of("grpc", "200")] == before + 1)


def test_call_without_an_id_gets_one(client: RpcClient) -> None:
    ids = {client.call(INFER, REQUEST).metadata["x-request-id"] for _ in range(2)}

    assert len(ids) == 2


def test_refusal_has_the_sentence_and_the_document_of_http(server: RuntimeServer, client: RpcClient) -> None:
    wrong = {"inputs": [{"name": "pH", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
    over_http = server.ask("POST", "/v2/models/model/infer", json.dumps(wrong), JSON)

    refused = client.call(INFER, message_of(wrong, raw=False, model="model").SerializeToString())

    assert refused.status == "INVALID_ARGUMENT"
    assert (refused.metadata[DOCUMENT], refused.details) == (over_http.body, over_http.document["error"])
    server.wait_until(lambda: numbers(server).get(of("grpc", "400"), 0) >= 1)


def test_more_rows_than_the_limit_are_refused(client: RpcClient) -> None:
    rows = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [11, 3], "data": [1.0] * 33}]}

    assert client.call(INFER, message_of(rows, raw=True, model="model").SerializeToString()).status == (
        "RESOURCE_EXHAUSTED"
    )


def test_server_without_the_option_listens_on_no_other_port_and_loads_nothing(start: Start, models: Path) -> None:
    off = start(models / "wine", *NATIVE, "--workers", "1")
    off.wait_until_ready()

    assert not any(loads_grpc(pid) for pid in (off.process.popen.pid, *off.workers()))


def test_only_workers_load_grpc(server: RuntimeServer) -> None:
    assert [loads_grpc(pid) for pid in (server.process.popen.pid, *server.workers())] == [False, True]


def loads_grpc(pid: int) -> bool:
    return "cygrpc" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize(
    "path",
    [
        *(f"/inference.GRPCInferenceService/{method.name}" for method in INFERENCE.descriptor.service[0].method),
        "/inference.GRPCInferenceService/Nothing",
        CHECK.path,
    ],
)
def test_only_probes_are_open_without_a_token(path: str, guarded: RpcClient) -> None:
    is_open = path == CHECK.path or path.rpartition("/")[2] in OPEN
    good = (("authorization", f"Bearer {TOKEN}"),)

    assert (guarded.call(path).status == "UNAUTHENTICATED") is not is_open
    assert guarded.call(path, metadata=(("authorization", "Bearer wrong"),)).status == (
        "OK" if is_open else "UNAUTHENTICATED"
    )
    assert guarded.call(path, metadata=good).status != "UNAUTHENTICATED"


@pytest.mark.parametrize("path", [INFO.path, OLDER_PATH])
def test_reflection_needs_the_token(path: str, guarded: RpcClient) -> None:
    def reflect(metadata: Any) -> str:
        asked = INFO.request(list_services="").SerializeToString()
        call = guarded.channel.stream_stream(path)(iter([asked]), timeout=PATIENCE, metadata=metadata)
        try:
            return str(INFO.response.FromString(next(call)).WhichOneof("message_response"))
        except grpc.RpcError as error:
            return str(error.code().name)

    assert reflect(()) == "UNAUTHENTICATED"
    assert reflect((("authorization", f"Bearer {TOKEN}"),)) == "list_services_response"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"file_containing_symbol": "inference.GRPCInferenceService.ModelInfer"}, "file_descriptor_response"),
        ({"file_containing_symbol": "inference.ModelInferRequest"}, "file_descriptor_response"),
        ({"file_by_filename": "inference.proto"}, "file_descriptor_response"),
        ({"file_containing_symbol": "inference.Nothing"}, "error_response"),
        ({"file_by_filename": "/etc/passwd"}, "error_response"),
        ({"all_extension_numbers_of_type": "inference.ModelInferRequest"}, "error_response"),
        ({}, "error_response"),
    ],
)
def test_reflection_answers_or_says_that_there_is_no_such_thing(
    asked: dict[str, str], found: str, client: RpcClient
) -> None:
    request = INFO.request(host="h", **asked).SerializeToString()
    (answer,) = client.channel.stream_stream(INFO.path)(iter([request]), timeout=PATIENCE)

    assert INFO.response.FromString(answer).WhichOneof("message_response") == found


def test_health_of_an_unknown_service_is_not_found(client: RpcClient) -> None:
    assert client.call(CHECK.path, CHECK.request(service="other").SerializeToString()).status == "NOT_FOUND"
    watched = client.channel.unary_stream(WATCH.path)(
        WATCH.request(service="other").SerializeToString(), timeout=PATIENCE
    )
    assert WATCH.response.FromString(next(watched)).status == 3
    watched.cancel()


def test_deadline_of_the_client_ends_the_call_and_drops_its_work(sleeper: RuntimeServer) -> None:
    with (
        rpc_client(sleeper.grpc_port) as client,
        ThreadPoolExecutor(1) as clients,
        held_calls() as held,
        held_calls() as of_the_client,
    ):
        busy = clients.submit(client.call, INFER, held_by(held.port))
        held.wait_for_call()
        dropped = client.call(INFER, held_by(of_the_client.port), seconds=1)
        sleeper.wait_until_inflight(1)
        held.let_go()

        assert (dropped.status, busy.result().status) == ("DEADLINE_EXCEEDED", "OK")
        assert client.call(INFER, held_by(0)).status == "OK"
        assert not of_the_client.has_new_call


def test_prediction_that_takes_too_long_is_ended_by_the_server(start: Start, hard_models: Path) -> None:
    server = start(hard_models / "sleeper", "--workers", "1", "--timeout", "1", grpc=True)
    server.wait_until_ready()
    with rpc_client(server.grpc_port) as client, held_calls() as held:
        answer = client.call(INFER, held_by(held.port))

    assert (answer.status, "no prediction in the time" in answer.details) == ("DEADLINE_EXCEEDED", True)


def test_call_may_ask_for_less_time_than_it_has(sleeper: RuntimeServer) -> None:
    with rpc_client(sleeper.grpc_port) as client, held_calls() as held:
        answer = client.call(INFER, held_by(held.port), metadata=(("x-request-timeout-ms", "100"),))

    assert answer.status == "DEADLINE_EXCEEDED"


def test_requests_of_http_and_calls_of_grpc_share_a_queue_which_may_be_full(sleeper: RuntimeServer) -> None:
    with rpc_client(sleeper.grpc_port) as client, ThreadPoolExecutor(2) as clients, held_calls() as held:
        busy = clients.submit(client.call, INFER, held_by(held.port))
        held.wait_for_call()
        waits = clients.submit(sleeper.predict, {"inputs": {"x": [0]}})
        sleeper.wait_until_inflight(2)
        refused, over_http = client.call(INFER, held_by(0)), sleeper.predict({"inputs": {"x": [0]}})
        held.let_go()

        assert (refused.status, refused.metadata["grpc-retry-pushback-ms"]) == ("RESOURCE_EXHAUSTED", "1000")
        assert over_http.status == 429
        assert (busy.result().status, waits.result().status) == ("OK", 200)


def test_port_that_is_taken_ends_the_server_and_is_named(start: Start, models: Path, server: RuntimeServer) -> None:
    taken = start(models / "wine", "--grpc-port", str(server.grpc_port))

    assert taken.exit_code() != 0
    assert f"port {server.grpc_port}: Address already in use; set --host or --grpc-port" in (
        taken.process.log.read_text()
    )


def test_same_port_for_both_protocols_is_refused(start: Start, models: Path) -> None:
    port = free_port()
    server = start(models / "wine", "--port", str(port), "--grpc-port", str(port))

    assert server.exit_code() != 0
    assert "--grpc-port" in server.process.log.read_text()
