"""Clients that hang up, and an MLflow that does: no fault of the gate, and each change is whole and recorded."""

import json
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_contract.tokens import Purpose
from testbed.gate import API, Gate, Json, ask, gate
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, free_port
from testbed.slow_clients import connected, head_of, rest_of
from tests.tracking_gate.conftest import Wine, wine_behind
from tests.tracking_gate.relay import HALF, Relay, relay

METRICS_PORT = free_port()
CUT = 'requests_total{decision="cut",rule="transition_stage"}'
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def between(mlflow_3_18: MlflowServer) -> Iterator[Relay]:
    with relay(mlflow_3_18.uri) as found:
        yield found


@pytest.fixture(scope="module")
def behind(between: Relay, mlflow_3_18: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    options = ("--attempts=100000", f"--metrics-port={METRICS_PORT}", "--client-pause=600")
    with gate(replace(mlflow_3_18, uri=between.uri), tmp_path_factory.mktemp("behind"), *options) as found:
        yield found


@pytest.fixture
def wine_here(behind: Gate, between: Relay) -> Iterator[Wine]:
    between.arrived.clear()
    between.go.clear()
    yield wine_behind(behind)
    between.go.set()
    between.held, between.lost = "\0", False


def metrics(port: int = METRICS_PORT) -> dict[str, float]:
    lines = ask(f"http://127.0.0.1:{port}", "GET", "/metrics").body.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("model_api_gate_"))
    return {name.removeprefix("model_api_gate_"): float(value) for name, _, value in pairs}


def hang_up(connection: socket.socket, *, reset: bool) -> None:
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up_and_wait(connection: socket.socket, *, reset: bool, port: int = METRICS_PORT) -> None:
    """Hang up while the gate waits for MLflow, and return when the gate knows of it."""
    series = 'client_hang_ups_total{phase="upstream"}'
    before = metrics(port)[series]
    hang_up(connection, reset=reset)
    assert eventually(lambda: metrics(port)[series] == before + 1)


def eventually(holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def lines_of(found: Gate, version: str, name: str) -> list[Json]:
    return [line for line in found.lines() if line.get("model") == name and line.get("version") == version]


def sent(method: str, path: str, headers: dict[str, str], body: Json) -> bytes:
    content = json.dumps(body).encode()
    return (
        head_of(method, path, headers | {"Content-Type": "application/json", "Content-Length": str(len(content))})
        + content
    )


@pytest.mark.parametrize("kind", ["runs", "experiments"])
def test_move_to_staging_waits_for_a_deletion_of_its_files(
    behind: Gate, wine_here: Wine, between: Relay, kind: str
) -> None:
    version, jane = wine_here.version(), behind.basic("jane")
    body = {"run_id": wine_here.run} if kind == "runs" else {"experiment_id": wine_here.experiment}
    search = {"experiment_ids": [wine_here.experiment]}
    between.held = f"{kind}/delete"
    with ThreadPoolExecutor(2) as pool:
        deleted = pool.submit(behind.ask, "POST", f"{API}/{kind}/delete", body, jane)
        assert between.arrived.wait(PATIENCE)
        assert behind.ask("POST", f"{API}/logged-models/search", search, jane).status == 200  # a read waits for nothing
        moved = pool.submit(wine_here.move, version, "Staging", jane)
        assert eventually(lambda: moved.done() or metrics()["in_flight_requests"] == 2)
        between.go.set()

    assert (deleted.result().status, moved.result().status) == (200, 409)
    assert wine_here.stage(version) == "None"


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("phase", ["head", "upload", "guarded body", "upstream", "answer"])
def test_client_that_hangs_up_is_no_fault(
    behind: Gate, wine_here: Wine, between: Relay, phase: str, reset: bool
) -> None:
    jane, large = behind.basic("jane"), f"{ARTIFACTS}/{wine_here.directory}/large.bin"
    length = {"Content-Length": "100000"}
    if phase == "answer":
        assert wine_here.put(f"{wine_here.directory}/large.bin", bytes(8 * 1024 * 1024), jane).status == 200
    if phase == "upstream":
        between.held = "experiments/search"
    begun = {
        "head": head_of("GET", "/version")[:-4],
        "upload": head_of("PUT", large, jane | length) + b"x",
        "guarded body": (
            head_of("POST", f"{API}/registered-models/create", jane | length | {"Content-Type": "application/json"})
            + b"{"
        ),
        "upstream": head_of("GET", f"{API}/experiments/search?max_results=1", jane),
        "answer": head_of("GET", large, jane),
    }[phase]
    series = {"upload": "body", "guarded body": "body"}.get(phase, phase)
    before = metrics()
    between.seen.clear()
    clients = [connected(behind.uri, begun, receives=4096) for _ in range(5)]
    if phase == "upload":
        assert eventually(lambda: between.seen.count("PUT") == len(clients))
    if phase == "answer":
        assert all(client.recv(1) for client in clients)
    if phase != "head":
        assert eventually(lambda: metrics()["in_flight_requests"] == len(clients))
    for client in clients:
        hang_up(client, reset=reset)

    def counted() -> bool:
        now, name = metrics(), f'client_hang_ups_total{{phase="{series}"}}'
        return phase == "head" or now[name] - before[name] == len(clients)

    assert eventually(counted), {
        name: value - before.get(name, 0) for name, value in metrics().items() if "hang" in name
    }
    assert eventually(lambda: metrics()["in_flight_requests"] == 0)
    after = metrics()
    for name in ("errors_total", 'refusals_total{reason="unavailable"}', 'refusals_total{reason="invalid_request"}'):
        assert after[name] == before[name], name
    assert "Traceback" not in behind.process.log.read_text()
    if phase == "upload":
        assert [line["decision"] for line in behind.lines()].count("cut") >= len(clients)


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_answer_that_mlflow_breaks_off_is_not_whole_for_the_client(
    behind: Gate, between: Relay, framing: str, version: str
) -> None:
    between.half, before = framing, metrics()
    request = head_of("GET", "/static-files/half", behind.basic("jane")).replace(b"HTTP/1.1", version.encode())
    with connected(behind.uri, request) as client:
        try:
            found = rest_of(client)
            was_reset = False
        except ConnectionResetError:
            found, was_reset = b"", True

    assert (
        was_reset or (b"Content-Length: 200000" in found) or (b"chunked" in found and not found.endswith(b"0\r\n\r\n"))
    )
    assert not found.count(b"HTTP/1.1 ") > 1
    assert eventually(lambda: metrics()["upstream_cuts_total"] - before["upstream_cuts_total"] == 1)
    after = metrics()
    assert after["errors_total"] == before["errors_total"]
    assert after['refusals_total{reason="unavailable"}'] == before['refusals_total{reason="unavailable"}']


@pytest.mark.parametrize("half", ["small", "garbage", "nothing"])
def test_answer_that_mlflow_does_not_begin_is_a_503(behind: Gate, between: Relay, half: str) -> None:
    between.half, before = half, metrics()
    refused = behind.ask("GET", "/static-files/half", headers=behind.basic("jane"))

    assert (refused.status, refused.message) == (503, "MLflow does not answer")
    assert metrics()["errors_total"] == before["errors_total"]


def test_body_that_comes_late_is_sent_on_a_connection_that_is_open(tmp_path: Path) -> None:
    """MLflow closes a connection on which nothing comes for 5 s, while the client waits before it sends its body."""
    with socket.create_server(("127.0.0.1", 0)) as mlflow, ExitStack() as stack:
        mlflow.settimeout(PATIENCE)
        server: Any = SimpleNamespace(uri=f"http://127.0.0.1:{mlflow.getsockname()[1]}")
        found = stack.enter_context(gate(server, tmp_path))
        client = stack.enter_context(connected(found.uri, head_of("GET", "/version")))
        kept = stack.enter_context(accepted(mlflow))
        answered(kept, b"\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        headers = found.basic("jane") | {"Content-Length": "2", "Expect": "100-continue"}
        client.sendall(head_of("POST", f"{API}/experiments/search", headers))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        kept.shutdown(socket.SHUT_WR)
        assert kept.recv(65536) == b""
        client.sendall(b"{}")
        answered(stack.enter_context(accepted(mlflow)), b"{}")

        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")


def accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def answered(connection: socket.socket, end: bytes) -> None:
    """Answer the request that ends so."""
    received = b""
    while not received.endswith(end):
        received += connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_table_of_halves_has_every_case() -> None:
    assert set(HALF) == {"length", "chunks", "small", "garbage", "nothing"}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_move_whose_client_hangs_up_is_finished_and_recorded(
    behind: Gate, wine_here: Wine, between: Relay, reset: bool
) -> None:
    version = wine_here.version()
    assert wine_here.move(version, "Staging", behind.basic("jane")).status == 200
    between.held = "transition-stage"
    move = {"name": wine_here.name, "version": version, "stage": "Production"}
    client = connected(
        behind.uri, sent("POST", f"{API}/model-versions/transition-stage", behind.bearer(Purpose.PROMOTE), move)
    )
    assert between.arrived.wait(PATIENCE)
    hang_up_and_wait(client, reset=reset)
    between.go.set()

    assert eventually(lambda: lines_of(behind, version, wine_here.name)[-1]["decision"] == "allow")
    assert [line["decision"] for line in lines_of(behind, version, wine_here.name)][-2:] == ["begin", "allow"]
    assert wine_here.stage(version) == "Production"
    assert wine_here.put(f"{wine_here.directory}/model/MLmodel", b"changed", behind.basic("jane")).status == 409
    assert "Traceback" not in behind.process.log.read_text()


def test_move_whose_client_hangs_up_before_it_is_decided_does_not_happen(
    behind: Gate, wine_here: Wine, between: Relay
) -> None:
    version, cut = wine_here.version(), metrics().get(CUT, 0.0)
    between.held = "model-versions/search"
    move = {"name": wine_here.name, "version": version, "stage": "Staging"}
    client = connected(behind.uri, sent("POST", f"{API}/model-versions/transition-stage", behind.basic("jane"), move))
    assert between.arrived.wait(PATIENCE)
    hang_up_and_wait(client, reset=True)
    between.held = "\0"
    between.go.set()
    # The gate records what becomes of the request when it has ended.
    assert eventually(lambda: metrics().get(CUT, 0.0) > cut)

    assert wine_here.stage(version) == "None"
    assert not [line for line in lines_of(behind, version, wine_here.name) if line["op"] == "transition_stage"]


def test_change_whose_client_hung_up_is_under_way_until_it_ends(
    between: Relay, mlflow_3_18: MlflowServer, tmp_path: Path
) -> None:
    """A client that hangs up again and again has no more changes under way than one that waits."""
    port = free_port()
    options = ("--requests-per-caller=1", f"--metrics-port={port}")
    between.arrived.clear()
    between.go.clear()
    with gate(replace(mlflow_3_18, uri=between.uri), tmp_path / "gate", *options) as found:
        wine, jane, olga = wine_behind(found), found.basic("jane"), found.basic("olga")
        read, move = f"{API}/registered-models/get?name={wine.name}", {"name": wine.name, "stage": "Staging"}
        body = move | {"version": wine.version()}
        assert found.ask("GET", read, headers=olga).status == 200
        between.held = "transition-stage"
        client = connected(found.uri, sent("POST", f"{API}/model-versions/transition-stage", jane, body))
        assert between.arrived.wait(PATIENCE)
        hang_up_and_wait(client, reset=True, port=port)
        before = len(between.seen)
        with connected(found.uri, head_of("GET", read, jane | {"Connection": "close"})) as waiting:
            assert found.ask("GET", read, headers=olga).status == 200
            forwarded = len(between.seen) - before
            between.held = "\0"
            between.go.set()
            answer = rest_of(waiting)

    assert forwarded == 1  # Olga's
    assert b" 200 " in answer[:20]


def test_move_whose_answer_is_lost_is_recorded_as_unknown_and_its_files_are_kept(
    behind: Gate, wine_here: Wine, between: Relay
) -> None:
    version = wine_here.version()
    jane, file = behind.basic("jane"), f"{wine_here.directory}/model/MLmodel"
    assert wine_here.put(file, b"flavors: {}\n", jane).status == 200  # now it is known what is promoted
    between.held, between.lost = "transition-stage", True
    refused = wine_here.move(version, "Staging", jane)
    between.held, between.lost = "\0", False

    assert (refused.status, refused.message) == (503, "MLflow does not answer")
    assert [line["decision"] for line in lines_of(behind, version, wine_here.name)][-2:] == ["begin", "unknown"]
    assert wine_here.stage(version) == "Staging"
    assert wine_here.put(file, b"changed", jane).status == 409


def test_gate_that_ends_in_the_middle_of_a_move_records_it(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    """The client has hung up before, so no other request is under way."""
    port = free_port()
    options = (f"--metrics-port={port}",)
    with (
        relay(mlflow_3_18.uri) as between,
        gate(replace(mlflow_3_18, uri=between.uri), tmp_path / "gate", *options) as found,
    ):
        wine = wine_behind(found)
        version = wine.version()
        between.held = "transition-stage"
        move = {"name": wine.name, "version": version, "stage": "Staging"}
        client = connected(found.uri, sent("POST", f"{API}/model-versions/transition-stage", found.basic("jane"), move))
        assert between.arrived.wait(PATIENCE)
        hang_up_and_wait(client, reset=True, port=port)
        found.process.popen.send_signal(signal.SIGTERM)
        code = found.process.popen.wait(PATIENCE)

        assert code == 0
        assert [line["decision"] for line in lines_of(found, version, wine.name)][-2:] == ["begin", "unknown"]
