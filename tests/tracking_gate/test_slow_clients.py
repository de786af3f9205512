"""Clients that begin a request and do not go on: the gate cuts them off, and answers others meanwhile."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from model_contract.tokens import Purpose
from testbed.gate import API, Gate, ask, gate
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, free_port
from testbed.slow_clients import connected, head_of, rest_of, slow_clients
from tests.tracking_gate.conftest import Wine, wine_behind
from tests.tracking_gate.test_hang_ups import eventually

LARGE = 32 * 1024 * 1024


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def impatient(mlflow_3_18: MlflowServer, tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[Gate]:
    """Return a gate that waits 4 s for a client."""
    options = ("--client-pause=4", "--requests-per-caller=8", "--attempts=100000", f"--metrics-port={metrics_port}")
    with gate(mlflow_3_18, tmp_path_factory.mktemp("impatient"), *options) as found:
        yield found


@pytest.fixture(scope="module")
def wine_here(impatient: Gate) -> Wine:
    wine = wine_behind(impatient)
    assert (
        wine.put(f"{wine.directory}/large.bin", os.urandom(1024) * (LARGE // 1024), impatient.basic("jane")).status
        == 200
    )
    return wine


def metric(port: int, name: str) -> float:
    lines = ask(f"http://127.0.0.1:{port}", "GET", "/metrics").body.decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"model_api_gate_{name} "))


def file_of(wine: Wine, name: str = "large.bin") -> str:
    return f"/api/2.0/mlflow-artifacts/artifacts/{wine.directory}/{name}"


def begun(impatient: Gate, wine: Wine) -> dict[str, bytes]:
    """Return the beginning of a slow client's request, of another person or token than those that are answered."""
    olga, both = impatient.basic("olga"), impatient.basic("both")
    upload = {"Content-Length": "1000000"}
    return {
        "half a head": head_of("GET", "/version")[:-4],
        "nothing after a request": head_of("GET", "/version"),
        "half a body on a public route": head_of("GET", "/version", upload) + b"x",
        "half an upload": head_of("PUT", file_of(wine, "slow.bin"), both | upload) + b"x",
        "half a guarded body": head_of(
            "POST", f"{API}/registered-models/create", olga | upload | {"Content-Type": "application/json"}
        )
        + b"{",
        "an unread download": head_of("GET", file_of(wine), both),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "half a head",
        "nothing after a request",
        "half a body on a public route",
        "half an upload",
        "half a guarded body",
        "an unread download",
    ],
)
def test_others_are_answered_beside_100_slow_clients(impatient: Gate, wine_here: Wine, kind: str) -> None:
    version = wine_here.version()
    with slow_clients(impatient.uri, 100, [begun(impatient, wine_here)[kind]], receives=4096):
        answers = [
            impatient.ask("GET", "/version"),
            impatient.ask("GET", "/readyz"),
            impatient.ask(
                "GET", f"{API}/registered-models/get?name={wine_here.name}", headers=impatient.bearer(Purpose.PULL)
            ),
            impatient.ask("GET", file_of(wine_here, "model/MLmodel"), headers=impatient.bearer(Purpose.PULL)),
            impatient.ask("GET", f"{API}/experiments/search?max_results=1", headers=impatient.basic("jane")),
            wine_here.move(version, "Staging", impatient.basic("jane")),
            wine_here.move(version, "Production", impatient.bearer(Purpose.PROMOTE)),
        ]

    assert [answer.status for answer in answers] == [200] * 7


def test_caller_who_reads_nothing_has_their_own_requests_wait_for_each_other(
    impatient: Gate, wine_here: Wine, metrics_port: int
) -> None:
    """The ninth request is answered when the gate has cut off the first ones."""
    cut = metric(metrics_port, 'connections_closed_total{cause="answer"}')
    with slow_clients(
        impatient.uri, 8, [head_of("GET", file_of(wine_here), impatient.bearer(Purpose.PULL))], receives=4096
    ):
        assert eventually(lambda: metric(metrics_port, "in_flight_requests") == 8)
        answer = impatient.ask("GET", file_of(wine_here, "model/MLmodel"), headers=impatient.bearer(Purpose.PULL))

    assert answer.status == 200
    assert metric(metrics_port, 'connections_closed_total{cause="answer"}') > cut


def test_slow_reader_that_goes_on_is_not_cut_off(impatient: Gate, wine_here: Wine) -> None:
    """The download takes three times the pause that a client may make."""
    with connected(
        impatient.uri, head_of("GET", file_of(wine_here), impatient.basic("jane") | {"Connection": "close"})
    ) as reader:
        received, ends = 0, time.monotonic() + 12
        while time.monotonic() < ends:
            received += len(reader.recv(65536))
            time.sleep(0.1)
        received += len(rest_of(reader))

    assert received > LARGE


def test_reader_that_takes_a_few_bytes_at_a_time_is_not_cut_off(impatient: Gate, wine_here: Wine) -> None:
    """The gate cannot write on for longer than the pause that a client may make."""
    request = head_of("GET", file_of(wine_here), impatient.basic("jane"))
    with connected(impatient.uri, request, receives=4096) as reader:
        ends = time.monotonic() + 12
        while time.monotonic() < ends:
            assert reader.recv(1024)
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("kind", "status"), [("half an upload", 408), ("half a guarded body", 408), ("half a body on a public route", 400)]
)
def test_half_a_body_is_answered_with_what_is_wrong(impatient: Gate, wine_here: Wine, kind: str, status: int) -> None:
    with connected(impatient.uri, begun(impatient, wine_here)[kind]) as slow:
        head, _, body = rest_of(slow).partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["message"] in {"the body of the request does not arrive", "send a GET without a body"}


def test_half_a_head_is_cut_off(impatient: Gate) -> None:
    with connected(impatient.uri, head_of("GET", "/version")[:-4]) as slow:
        assert rest_of(slow) == b""


def test_client_that_expects_100_continue_is_answered_before_its_body(impatient: Gate, wine_here: Wine) -> None:
    expects = {"Content-Length": "4", "Expect": "100-continue", "Connection": "close"}
    path = file_of(wine_here, "expected.bin")
    with connected(impatient.uri, head_of("PUT", path, impatient.basic("jane") | expects)) as client:
        told = client.recv(65536)
        client.sendall(b"data")
        answer = rest_of(client)
    with connected(impatient.uri, head_of("PUT", path, expects)) as client:
        refused = client.recv(65536)

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert refused.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("promotion", ["stage", "alias"])
@pytest.mark.parametrize("way", ["put", "put in chunks", "upload"])
def test_upload_that_ends_after_the_promotion_changes_no_file(gate_3: Gate, way: str, promotion: str) -> None:
    """A client that waits for `100 Continue` has it after the gate has allowed the upload."""
    wine, jane = wine_behind(gate_3), gate_3.basic("jane")
    version = wine.version()
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={wine.run}&path=model/MLmodel"
    method, path = ("POST", upload) if way == "upload" else ("PUT", file_of(wine, "model/MLmodel"))
    content = b"7\r\nchanged\r\n0\r\n\r\n" if way == "put in chunks" else b"changed"
    length = {"Transfer-Encoding": "chunked"} if way == "put in chunks" else {"Content-Length": "7"}
    head = head_of(method, path, jane | length | {"Expect": "100-continue", "Connection": "close"})
    alias = {"name": wine.name, "version": version, "alias": "champion"}
    with connected(gate_3.uri, head) as client:
        assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
        promoted = (
            wine.move(version, "Staging", jane)
            if promotion == "stage"
            else gate_3.ask("POST", f"{API}/registered-models/alias", alias, jane)
        )
        client.sendall(content)
        answer = rest_of(client)

    assert promoted.status == 200
    assert answer.startswith(b"HTTP/1.1 409 "), answer
    assert gate_3.ask("GET", file_of(wine, "model/MLmodel"), headers=jane).body == b"flavors: {}\n"


def test_address_with_too_many_idle_connections_loses_the_oldest(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    with (
        gate(mlflow_3_18, tmp_path / "gate", "--connections-per-address=20") as found,
        slow_clients(found.uri, 60, [b"", head_of("GET", "/version")[:-4]]) as clients,
    ):
        assert found.ask("GET", "/version").status == 200
        assert found.ask("GET", "/livez").status == 200
        with suppress(ConnectionResetError):
            assert rest_of(clients[0]) == b""


def test_probe_is_answered_when_its_address_has_too_many_requests(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    port = free_port()
    options = ("--connections-per-address=5", "--client-pause=600", f"--metrics-port={port}")
    with gate(mlflow_3_18, tmp_path / "gate", *options) as found:
        upload = head_of("POST", f"{API}/registered-models/create", found.basic("jane") | {"Content-Length": "9"})
        with slow_clients(found.uri, 5, [upload]):
            assert eventually(lambda: metric(port, "in_flight_requests") == 5)
            probes = [found.ask("GET", path).status for path in ("/livez", "/readyz")]
            other = found.ask("GET", "/version")

    assert probes == [200, 200]
    assert (other.status, other.message) == (503, "your address has too many connections with requests under way")


def test_limit_on_open_files_is_not_reached(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 512; exec "$@"', "sh")
    with gate(mlflow_3_18, tmp_path / "gate", prefix=few) as found:
        address = "127.0.0.1", urlsplit(found.uri).port or 0
        with ExitStack() as stack:
            for number in range(600):
                source = f"127.0.{number % 12}.2", 0  # no address has too many
                client = stack.enter_context(socket.create_connection(address, PATIENCE, source))
                client.sendall(b"" if number % 2 else head_of("GET", "/version")[:-4])
            assert found.ask("GET", "/version").status == 200
            assert found.ask("GET", "/readyz").status == 200

        assert "Traceback" not in found.process.log.read_text()
