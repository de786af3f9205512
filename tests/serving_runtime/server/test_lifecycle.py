"""From the start of the process to its end, with clients that never pause."""

import json
import os
import resource
import shutil
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from serving_runtime.errors import AskedToEndError
from serving_runtime.process.serve import ENDING, take_signals
from testbed.held_calls import held_calls
from testbed.processes import PATIENCE, children, lives
from testbed.runtime_server import JSON, NATIVE, RuntimeServer

RECORD = json.dumps({"dataframe_records": [{"fixed acidity": 1.0, "pH": 2.0, "alcohol": 3.0}]})
CLIENTS = 4
FEW = 16  # descriptors
COMPARED_WITHIN = 3 * PATIENCE  # the comparing process gets the processor time that others leave
Start = Callable[..., RuntimeServer]


class Traffic:
    """Counts what clients get that ask again and again: statuses, and answers that were `lost`."""

    def __init__(self, server: RuntimeServer, *, keep_alive: bool) -> None:
        self._server = server
        self._keep_alive = keep_alive
        self._over = threading.Event()
        self._not_ready = threading.Event()
        self.results: Counter[int | str] = Counter()
        self.clients: list[Future[None]] = []

    def end(self) -> None:
        self._over.set()

    def go_elsewhere(self) -> None:
        """As a Service does with a pod that is not ready: it gets no new connections, and those that it has remain.

        They end with their next answer, since the server closes them.
        """
        self._not_ready.set()
        wait(self.clients, PATIENCE)

    def run(self) -> None:
        client = self._server.client()
        while not self._over.is_set() and not (client.sock is None and self._not_ready.is_set()):
            try:
                client.request("POST", "/invocations", RECORD, JSON)
                response = client.getresponse()
                response.read()
                self.results[response.status] += 1
                if self._keep_alive:
                    continue
            except (OSError, HTTPException):
                self.results["lost"] += 1
            client.close()
        client.close()


@contextmanager
def traffic(server: RuntimeServer, *, keep_alive: bool) -> Iterator[Traffic]:
    running = Traffic(server, keep_alive=keep_alive)
    with ThreadPoolExecutor(CLIENTS) as clients:
        running.clients += [clients.submit(running.run) for _ in range(CLIENTS)]
        try:
            server.wait_until(lambda: running.results[200] > 50)
            yield running
        finally:
            running.end()
    for client in running.clients:
        client.result()


def test_server_is_alive_and_not_ready_while_the_model_loads(start: Start, hard_models: Path) -> None:
    with held_calls() as held:
        server = start(hard_models / "slow-to-load", "--workers", "2", environ=held.environment)
        server.process.wait_for_http(f"{server.url}/livez")
        held.wait_for_call()

        assert [server.get(path).status for path in ("/readyz", "/startupz", "/ping", "/version")] == [503] * 4
        assert server.get("/readyz").document == {"status": "loading"}
        refused = server.predict({"inputs": {"x": [0]}})
    assert (refused.status, refused.document["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert refused.headers["retry-after"] == "1"


def test_server_is_alive_at_every_moment_until_it_is_ready_and_then_stays_ready(
    start: Start, hard_models: Path
) -> None:
    seen = []

    def states() -> tuple[int, int]:
        seen.append((server.get("/livez").status, server.get("/readyz").status))
        return seen[-1]

    with held_calls() as held:
        server = start(hard_models / "slow-to-load", "--workers", "2", environ=held.environment)
        server.process.wait_for_http(f"{server.url}/livez")
        held.wait_for_call()
        assert [states() for _ in range(20)] == [(200, 503)] * 20
    server.wait_until(lambda: states() == (200, 200))

    assert set(seen) == {(200, 503), (200, 200)}
    assert {server.predict({"inputs": {"x": [0]}}).status for _ in range(50)} == {200}


def test_workers_load_for_themselves_what_a_fork_would_break(start: Start, hard_models: Path) -> None:
    server = start(hard_models / "not-to-be-copied", "--workers", "2")
    server.wait_until_ready()
    wait_for_answers_of_two_workers(server)

    assert server.get("/livez").status == 200


def wait_for_answers_of_two_workers(server: RuntimeServer) -> None:
    """The model predicts the id of its process."""
    server.wait_until(
        lambda: len({server.predict({"inputs": {"x": [0]}}).document["predictions"][0] for _ in range(20)}) == 2
    )


def test_killed_worker_is_replaced_and_only_what_it_held_is_lost(start: Start, models: Path) -> None:
    server = start(models / "wine", *NATIVE, "--workers", "2")
    server.wait_until_ready()
    server.wait_until(lambda: len(server.workers()) == 2)
    with traffic(server, keep_alive=False) as clients:
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        server.wait_until(lambda: len(server.workers()) == 2 and killed not in server.workers())
        answered = clients.results[200]
        server.wait_until(lambda: clients.results[200] > answered + 100)

    assert clients.results["lost"] <= CLIENTS
    assert set(clients.results) <= {200, "lost"}


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept connections", "new connections"])
def test_end_under_load_loses_nothing(start: Start, models: Path, keep_alive: bool) -> None:
    server = start(models / "wine", *NATIVE, "--workers", "2", "--drain-delay", "600")
    server.wait_until_ready()
    with traffic(server, keep_alive=keep_alive) as clients:
        server.ask_to_end()
        server.wait_until(lambda: server.get("/readyz").status == 503)
        clients.go_elsewhere()
        stopping = server.get("/readyz")
        asked = server.predict(json.loads(RECORD))
        server.end_drain()
        code = server.exit_code()

    assert (stopping.document, stopping.headers["connection"]) == ({"status": "stopping"}, "close")
    assert (asked.status, code) == (200, 0)
    assert set(clients.results) == {200}


@pytest.mark.parametrize("closed", [False, True], ids=["asked to end", "terminal closed"])
def test_end_waits_for_the_request_that_is_being_answered(*, closed: bool, start: Start, hard_models: Path) -> None:
    server = start(hard_models / "sleeper", "--workers", "1", "--stop-timeout", "600")
    server.wait_until_ready()
    with ThreadPoolExecutor() as clients, held_calls() as held:
        answer = clients.submit(server.predict, {"inputs": {"x": [held.port]}})
        held.wait_for_call()
        if closed:  # it tells all processes
            for pid in (*server.workers(), server.process.popen.pid):
                os.kill(pid, signal.SIGHUP)
        else:
            server.ask_to_end()
        server.wait_until(lambda: not is_open(server.port))
        held.let_go()

        assert (answer.result().status, server.exit_code()) == (200, 0)


def test_end_does_not_wait_for_idle_connections(start: Start, models: Path) -> None:
    server = start(models / "wine", *NATIVE, "--workers", "1", "--stop-timeout", "600")
    server.wait_until_ready()
    idle = server.client()
    idle.request("GET", "/ping")
    idle.getresponse().read()
    server.ask_to_end()

    assert server.exit_code() == 0
    idle.close()


def test_end_waits_at_most_for_the_time_of_the_setting(start: Start, hard_models: Path) -> None:
    server = start(hard_models / "sleeper", "--workers", "1", "--stop-timeout", "1")
    server.wait_until_ready()
    with held_calls() as held, server.connect() as connection:
        body = json.dumps({"inputs": {"x": [held.port]}}).encode()
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        held.wait_for_call()
        server.ask_to_end()

        assert server.exit_code() == 0


def test_end_while_the_model_loads_is_no_failure(start: Start, hard_models: Path) -> None:
    with held_calls() as held:
        server = start(hard_models / "slow-to-load", environ=held.environment)
        held.wait_for_call()
        server.ask_to_end()

        assert server.exit_code() == 0


def test_server_without_descriptors_for_a_worker_ends_with_a_sentence(start: Start, hard_models: Path) -> None:
    with held_calls() as held:
        server = start(hard_models / "slow-to-load", "--workers", "1", environ=held.environment)
        held.wait_for_call()
        resource.prlimit(server.process.popen.pid, resource.RLIMIT_NOFILE, (FEW, FEW))

    assert server.exit_code() == 1
    assert server.process.log.read_text().splitlines()[-1].startswith("error: a worker cannot start: Too many open")


def test_worker_that_cannot_replace_another_leaves_the_rest(start: Start, hard_models: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(hard_models / "not-to-be-copied", tmp_path / "model"))
    server = start(model, "--workers", "2")
    server.wait_until_ready()
    wait_for_answers_of_two_workers(server)
    (model / "MLmodel").rename(model / "gone")
    os.kill(server.workers()[0], signal.SIGKILL)
    server.awaited(lambda line: line["message"] == "a worker cannot start; another one will try")

    assert server.predict({"inputs": {"x": [0]}}).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_that_the_shell_has_blocked_ends_the_start(number: signal.Signals) -> None:
    handlers = {one: signal.getsignal(one) for one in ENDING}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        signal.signal(number, signal.SIG_DFL)  # a run below `nohup` ignores SIGHUP
        signal.raise_signal(number)
        with pytest.raises(AskedToEndError):
            take_signals()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for one, handler in handlers.items():
            signal.signal(one, handler)


def test_workers_do_not_outlive_their_supervisor(start: Start, models: Path) -> None:
    server = start(models / "wine", *NATIVE, "--workers", "2")
    server.wait_until_ready()
    server.wait_until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.process.popen.kill()
    server.process.popen.wait()

    server.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked to end", "killed"])
def test_nothing_outlives_the_supervisor_or_keeps_its_port_while_a_model_is_compared(
    number: int, start: Start, hard_models: Path
) -> None:
    with held_calls() as held:
        server = start(hard_models / "suspicious", "--workers", "2", environ=held.environment)
        server.wait_until_ready()
        held.wait_for_call()  # of the model that MLflow has loaded
        assert_nothing_outlives(server, number)


def assert_nothing_outlives(server: RuntimeServer, number: int) -> None:
    pid = server.process.popen.pid
    others: set[int] = set()

    def only_the_comparing_one() -> bool:
        """The placeholder, which answered before the workers did, may still be ending."""
        others.clear()
        others.update(child for child in children(pid) if lives(child) and child not in server.workers())
        return len(others) == 1

    server.wait_until(only_the_comparing_one)
    (comparing,), started = others, children(pid)
    os.kill(comparing, signal.SIGSTOP)  # no signal ends it by itself
    port = f":{server.port:04X} "
    listening = {
        line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if port in line and " 0A " in line
    }
    held = {str(entry.readlink()) for entry in Path(f"/proc/{comparing}/fd").iterdir()}
    server.process.popen.send_signal(number)
    server.exit_code()

    assert listening
    assert not held & {f"socket:[{inode}]" for inode in listening}
    server.wait_until(lambda: not any(lives(child) for child in started))
    with socket.create_server(("127.0.0.1", server.port)):
        pass


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_model_that_mlflow_loads_to_something_else_is_served_as_mlflow_loads_it(
    start: Start, hard_models: Path
) -> None:
    server = start(hard_models / "suspicious", "--workers", "2")
    server.wait_until_ready()
    before = server.predict({"inputs": {"x": [1.0]}}).document["predictions"]
    server.wait_until(
        lambda: any(line["message"].startswith("the model predicts something else") for line in server.lines()),
        seconds=COMPARED_WITHIN,
    )
    server.wait_until(
        lambda: {server.predict({"inputs": {"x": [1.0]}}).document["predictions"][0] for _ in range(10)} == {1.0}
    )

    assert before == [0.0]
    assert {server.predict({"inputs": {"x": [1.0]}}).status for _ in range(20)} == {200}


def test_model_that_mlflow_loads_to_the_same_stays_as_it_is(start: Start, models: Path) -> None:
    server = start(models / "wine", "--workers", "1")
    server.wait_until_ready()
    worker = server.workers()
    assert len(worker) == 1
    server.wait_until(
        lambda: any(line["message"] == "the model predicts the same as loaded by MLflow" for line in server.lines()),
        seconds=COMPARED_WITHIN,
    )

    assert server.workers() == worker
