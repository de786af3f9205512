"""The processes of the server: each answers, all count together, and one that dies is replaced."""

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificate

from benchmarks.admission_in_process import pod_of
from testbed.api_server import review_of
from testbed.processes import PATIENCE, paused
from testbed.webhook_server import HOST, WebhookServer
from webhook.server.metrics import Metrics

Serve = Callable[..., AbstractContextManager[WebhookServer]]
JSON = {"Content-Type": "application/json"}
INJECTED = 'model_api_webhook_admission_requests_total{dry_run="false",outcome="injected"}'


def eventually(found: Callable[[], Any]) -> Any:
    """Return the first result that is true. A webhook whose port is closed for a moment has none."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if result := found():
                return result
        except ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_metrics_are_the_sums_of_both_processes(serve: Serve, pod: dict[str, Any]) -> None:
    with serve() as server:
        for number, worker in enumerate(server.workers()):
            with paused(worker):
                for _ in range(3 + number):
                    server.review(pod)
        series = server.metrics()
        leaf = load_pem_x509_certificate(server.certificates.certificate.read_bytes())
        not_after = leaf.not_valid_after_utc.timestamp()

    assert series[INJECTED] == 7
    assert series["model_api_webhook_review_bytes_count"] == 7
    assert series['model_api_webhook_admission_duration_seconds_count{outcome="injected"}'] == 7
    assert series["model_api_webhook_in_flight_requests"] == 0
    assert series['model_api_webhook_tls_certificate_not_after_timestamp_seconds{role="leaf"}'] == not_after


def test_connections_of_a_burst_are_shared(serve: Serve) -> None:
    """A process that gets no processor for a moment leaves its share to the other one, so there are several bursts."""
    with serve() as server:
        workers = server.workers()
        for worker in workers:
            with paused(worker):  # so that each one is known to accept connections
                server.ask("GET", "/livez")
        differences = []
        while len(differences) < 5 and min(differences, default=16) > 5:  # one has the port for metrics too
            opened = [server.connection() for _ in range(16)]
            for connection in opened:
                connection.connect()
            one, other = (sockets(worker) for worker in workers)
            differences.append(abs(one - other))
            assert eventually(lambda: server.metrics()["model_api_webhook_connections"] == 16)
            for connection in opened:
                connection.close()
            assert eventually(lambda: server.metrics()["model_api_webhook_connections"] == 0)

    assert min(differences) <= 5


def sockets(process: int) -> int:
    return sum(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{process}/fd").iterdir())


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_is_replaced_and_loses_only_what_it_was_answering(
    serve: Serve, pod: dict[str, Any], killed: int
) -> None:
    body = json.dumps(review_of(pod)).encode()
    done = threading.Event()
    answered: list[int] = []

    with serve() as server, ThreadPoolExecutor(4) as pool:

        def ask() -> int:
            """Send reviews, and return the number of those that got no answer. Each is then sent once more."""
            lost = 0
            while not done.is_set():
                with closing(server.connection()) as connection:
                    try:
                        while not done.is_set():
                            connection.request("POST", "/mutate", body, JSON)
                            answer = connection.getresponse()
                            answer.read()
                            answered.append(answer.status)
                    except (ConnectionError, ssl.SSLEOFError, http.client.RemoteDisconnected):
                        lost += 1
            return lost

        clients = [pool.submit(ask) for _ in range(4)]
        try:
            before = server.workers()
            eventually(lambda: len(answered) > 50)
            os.kill(before[killed], signal.SIGKILL)
            eventually(lambda: len(set(server.workers()) - set(before)) == 1)
            wanted = len(answered) + 50
            eventually(lambda: len(answered) > wanted)
        finally:
            done.set()
        lost = [client.result(PATIENCE) for client in clients]
        series = eventually(server.metrics)
        lines = [line for line in server.log() if "SIGKILL" in line["message"]]

    assert set(answered) == {200}
    assert max(lost) <= 1
    assert len(answered) <= series[INJECTED] <= len(answered) + sum(lost)
    assert series["model_api_webhook_in_flight_requests"] == 0
    assert len(lines) == 1


def test_metrics_wait_for_their_port_to_be_free() -> None:
    with ThreadPoolExecutor(1) as pool:
        with socket.create_server((HOST, 0)) as former:
            port = former.getsockname()[1]
            served = pool.submit(Metrics().serve, HOST, port)
            time.sleep(0.1)  # for a try, which finds the port in use
        served.result(PATIENCE)

    with closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == http.client.OK


def test_a_large_review_does_not_keep_small_ones_waiting(serve: Serve, pod: dict[str, Any]) -> None:
    large = json.dumps(review_of(pod_of(6 << 20, 20))).encode()
    small = json.dumps(review_of(pod)).encode()
    with serve({"MODEL_API_WEBHOOK_SERVER_WORKERS": "1"}) as server, ThreadPoolExecutor(1) as pool:
        with closing(server.connection()) as connection, closing(server.connection()) as other:
            for opened in (connection, other):
                opened.request("GET", "/livez")
                opened.getresponse().read()
            meanwhile: list[int] = []
            while len(meanwhile) < 10 and max(meanwhile, default=0) <= 5:  # this process may get no processor meanwhile
                connection.request("POST", "/mutate", large, JSON)
                answering = pool.submit(connection.getresponse)
                meanwhile.append(0)
                while not answering.done():
                    other.request("POST", "/mutate", small, JSON)
                    assert other.getresponse().read()
                    meanwhile[-1] += 1
                reviewed = json.loads(answering.result().read())
                assert reviewed["response"]["allowed"] is True
        series = server.metrics()

    assert max(meanwhile) > 5
    assert series[INJECTED] == sum(meanwhile) + len(meanwhile)
    assert series["model_api_webhook_in_flight_requests"] == 0


def test_large_bodies_that_do_not_end_keep_only_other_large_ones_waiting(serve: Serve, pod: dict[str, Any]) -> None:
    large = json.dumps(review_of(pod_of(1 << 20, 20))).encode()
    variables = {
        "MODEL_API_WEBHOOK_SERVER_WORKERS": "1",
        "MODEL_API_WEBHOOK_SERVER_THREADS": "2",
        "MODEL_API_WEBHOOK_SERVER_READ_TIMEOUT": "10",
    }
    with serve(variables) as server:
        slow = [server.connection() for _ in range(4)]
        for connection in slow:
            connection.putrequest("POST", "/mutate")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(large)))
            connection.endheaders(large[:-1])

        assert server.review(pod)["response"]["allowed"] is True
        after_small = [was_ended(connection) for connection in slow]
        assert server.ask("POST", "/mutate", large, JSON)[0] == 200
        after_large = [was_ended(connection) for connection in slow]
        for connection in slow:
            connection.close()

    assert not any(after_small)
    assert any(after_large)


def was_ended(connection: http.client.HTTPSConnection) -> bool:
    """Return True if the server has answered the request that does not come, or has closed the connection."""
    connection.sock.settimeout(0)
    try:
        connection.sock.recv(1)
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    return True


def test_a_kept_connection_that_is_used_during_the_stop_gets_its_answer(serve: Serve, pod: dict[str, Any]) -> None:
    body = json.dumps(review_of(pod)).encode()
    with (
        serve({"MODEL_API_WEBHOOK_SERVER_GRACEFUL_TIMEOUT": "600"}) as server,
        closing(server.connection()) as used,
        closing(server.connection()) as idle,
    ):
        for connection in (used, idle):
            connection.request("POST", "/mutate", body, JSON)
            assert connection.getresponse().read()
        server.process.popen.send_signal(signal.SIGTERM)
        answers = []
        while not answers or answers[-1] != (200, "close"):
            used.request("POST", "/mutate", body, JSON)
            answer = used.getresponse()
            answer.read()
            answers.append((answer.status, answer.headers["Connection"]))

        assert {status for status, _ in answers} == {200}
        assert server.process.popen.wait(PATIENCE) == 0  # the idle one does not hold the server


def test_metrics_go_on_when_all_workers_are_replaced(serve: Serve, pod: dict[str, Any]) -> None:
    with serve() as server:
        before = server.workers()
        server.review(pod)
        server.process.popen.send_signal(signal.SIGHUP)
        eventually(lambda: set(server.workers()).isdisjoint(before))
        server.review(pod)

        assert eventually(server.metrics)[INJECTED] == 2
