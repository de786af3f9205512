"""Large bodies are read by a process beside the worker, so that other clients do not wait for them."""

import json
import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from serving_runtime.errors import Fault, InvalidInputError, MalformedRequestError, RefusedByModelError
from serving_runtime.prediction.handler import LARGE_BODY
from serving_runtime.process.body_reader import NICENESS
from testbed.processes import children, lives
from testbed.runtime_server import JSON, NATIVE, Answer, RuntimeServer, serving

COLUMNS = ["fixed acidity", "pH", "alcohol"]
MANY = 20_000
ROW = [7.4, 3.51, 9.4]


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    flags = ("--workers", "1", "--loader", "mlflow", "--model-name", "wine")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("readers") / "log") as server:
        yield server


def worker_and_reader(server: RuntimeServer) -> tuple[int, int]:
    """Return the ids of both. The worker may be a new one, in the place of the last test's."""

    def found() -> bool:
        pairs[:] = [(worker, reader) for worker in server.workers() for reader in children(worker) if lives(reader)]
        return len(pairs) == 1 and server.predict(split([ROW])).status == 200

    pairs: list[tuple[int, int]] = []
    server.wait_until(found)
    return pairs[0]


def sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("socket:")}


def split(rows: list[list[Any]]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": COLUMNS, "data": rows}}


def v2(rows: list[list[Any]]) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP64", "shape": [len(rows), 3], "data": rows}
    return {"id": "7", "inputs": [tensor]}


BODIES = {
    "/invocations": split,
    "/v1/models/wine:predict": lambda rows: {"instances": rows},
    "/v2/models/wine/infer": v2,
    "/model": lambda rows: {"data": split(rows)},
}


def values(answer: Answer) -> Any:
    """Return the predictions, and all else that has no time or id of the answer."""
    document = answer.document
    if "outputs" in document:
        return document["outputs"][0]["data"]
    return document.get("predictions") or document["result"]


@pytest.mark.parametrize("path", BODIES)
def test_large_body_gets_the_answer_of_a_small_one(server: RuntimeServer, path: str) -> None:
    one, many = (json.dumps(BODIES[path]([ROW] * rows)) for rows in (1, MANY))
    alone = server.ask("POST", path, one, JSON)
    together = server.ask("POST", path, many, JSON)

    assert len(one) < LARGE_BODY < len(many)
    assert (alone.status, together.status) == (200, 200)
    assert values(together) == pytest.approx(values(alone) * MANY)


@pytest.mark.parametrize("path", BODIES)
def test_fault_of_a_large_body_is_told_as_that_of_a_small_one(server: RuntimeServer, path: str) -> None:
    def refusal(rows: int) -> Any:
        answer = server.ask("POST", path, json.dumps(BODIES[path]([[7.4, 3.51, "x"], *([ROW] * rows)])), JSON)
        return answer.status, answer.document

    assert refusal(MANY) == refusal(1)
    assert refusal(MANY)[0] == 400


def test_others_are_answered_while_a_large_body_is_read(server: RuntimeServer) -> None:
    _, reader = worker_and_reader(server)
    os.kill(reader, signal.SIGSTOP)  # as if it took long
    with ThreadPoolExecutor() as clients:
        large = clients.submit(server.predict, split([ROW] * MANY))
        server.wait_until_inflight(1)
        small = [server.predict(split([ROW])).status for _ in range(20)]
        waited = not large.done()
        os.kill(reader, signal.SIGCONT)

        assert (set(small), waited, large.result().status) == ({200}, True, 200)


def test_worker_whose_reader_has_ended_is_replaced(server: RuntimeServer) -> None:
    worker, reader = worker_and_reader(server)
    os.kill(reader, signal.SIGKILL)
    server.wait_until(lambda: worker not in server.workers() and len(server.workers()) == 1)

    assert server.predict(split([ROW] * MANY)).status == 200


def test_body_whose_reader_ends_is_answered_500(server: RuntimeServer) -> None:
    worker, reader = worker_and_reader(server)
    os.kill(reader, signal.SIGSTOP)
    with ThreadPoolExecutor() as clients:
        large = clients.submit(server.predict, split([ROW] * MANY))
        server.wait_until_inflight(1)
        os.kill(reader, signal.SIGKILL)

        assert large.result().status == 500
    assert any("the server failed" in line["message"] for line in server.lines())
    server.wait_until(lambda: worker not in server.workers())  # the next test gets the worker in its place


def test_answer_of_a_body_after_one_that_took_too_long_is_its_own(server: RuntimeServer) -> None:
    _, reader = worker_and_reader(server)
    many, more = (json.dumps(split([ROW] * rows)) for rows in (MANY, MANY + 1))
    os.kill(reader, signal.SIGSTOP)
    late = server.ask("POST", "/invocations", many, JSON | {"X-Request-Timeout-Ms": "300"})
    os.kill(reader, signal.SIGCONT)
    next_one = server.ask("POST", "/invocations", more, JSON)

    assert (late.status, next_one.status) == (504, 200)
    assert len(values(next_one)) == MANY + 1


def test_end_does_not_wait_for_a_body_that_is_read(models: Path, tmp_path: Path) -> None:
    flags = (*NATIVE, "--workers", "1", "--stop-timeout", "1")
    with serving(models / "wine", *flags, log=tmp_path / "log") as server, ThreadPoolExecutor() as clients:
        _, reader = worker_and_reader(server)
        os.kill(reader, signal.SIGSTOP)
        large = clients.submit(server.predict, split([ROW] * MANY))
        server.wait_until_inflight(1)
        server.ask_to_end()

        assert server.exit_code() == 0
        assert not lives(reader)
        assert not any("SIGKILL" in line["message"] for line in server.lines())
        with suppress(Exception):  # the connection was cut
            large.result()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_reader_has_no_socket_of_its_worker_and_ends_with_it(busy: bool, server: RuntimeServer) -> None:
    worker, reader = worker_and_reader(server)
    both = sockets(worker) & sockets(reader)
    if busy:
        os.kill(reader, signal.SIGSTOP)  # it does not see that the worker has closed the pipe
    os.kill(worker, signal.SIGKILL)

    assert both == set()
    server.wait_until(lambda: not lives(reader))


def test_reader_goes_on_while_its_worker_ends_and_lets_others_go_first(server: RuntimeServer) -> None:
    worker, reader = worker_and_reader(server)
    for number in (signal.SIGTERM, signal.SIGINT):  # such as a terminal sends to every process
        os.kill(reader, number)

    assert server.predict(split([ROW] * MANY)).status == 200
    assert worker_and_reader(server) == (worker, reader)
    least = 19  # below `nice -n 19` nothing can be nicer
    assert os.getpriority(os.PRIO_PROCESS, reader) == min(os.getpriority(os.PRIO_PROCESS, worker) + NICENESS, least)


@pytest.mark.parametrize(
    "error",
    [
        MalformedRequestError("no JSON"),
        InvalidInputError([Fault.mismatch(f"a[{row}]", got="a string", expected="a number") for row in range(30)]),
        RefusedByModelError("no", status=409, error_code="RESOURCE_CONFLICT"),
    ],
    ids=["malformed", "faults", "refused by the model"],
)
def test_error_of_the_reader_is_the_same_in_the_worker(
    error: MalformedRequestError | InvalidInputError | RefusedByModelError,
) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own

    assert type(copy) is type(error)
    assert (copy.message, copy.details, copy.status, copy.error_code) == (
        error.message,
        error.details,
        error.status,
        error.error_code,
    )
