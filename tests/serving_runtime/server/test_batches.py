"""Requests that come while the model is busy share its next call, and get the answers that they would get alone."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.held_calls import held_calls
from testbed.runtime_server import JSON, Answer, RuntimeServer, serving
from tests.serving_runtime.server.test_observability import numbers

Start = Callable[..., RuntimeServer]


def together(server: RuntimeServer, values: list[float]) -> list[Answer]:
    """The answers to requests of one row each, which all come while the model is busy with the first."""
    with ThreadPoolExecutor(len(values) + 1) as clients, held_calls() as held:
        first = clients.submit(server.predict, {"inputs": {"x": [held.port]}})
        held.wait_for_call()
        others: list[Future[Answer]] = [clients.submit(server.predict, {"inputs": {"x": [value]}}) for value in values]
        server.wait_until_inflight(1 + len(values))
        held.let_go()
        assert first.result().document == {"predictions": [2 * held.port]}
        return [other.result() for other in others]


def merged(server: RuntimeServer, requests: int = 0) -> list[int]:
    """Return the number of requests in the call of each request so far; wait for so many lines of the log."""
    found: list[int] = []

    def are_there() -> bool:
        found[:] = [line["merged"] for line in server.lines() if "merged" in line]
        return len(found) >= requests

    server.wait_until(are_there)
    return found


@pytest.fixture(scope="module")
def patient(hard_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    with serving(hard_models / "patient", "--workers", "1", log=tmp_path_factory.mktemp("patient") / "log") as server:
        yield server


def test_requests_that_wait_become_one_call_and_each_gets_its_own(patient: RuntimeServer) -> None:
    before = len(merged(patient))
    answers = together(patient, [float(number) for number in range(20)])

    assert [answer.document["predictions"] for answer in answers] == [[2.0 * number] for number in range(20)]
    assert sorted(merged(patient, before + 21)[before:]) == [1, *[20] * 20]


def test_only_the_request_at_fault_fails(patient: RuntimeServer) -> None:
    answers = together(patient, [1.0, 2.0, -1.0, 3.0])

    assert [answer.status for answer in answers] == [200, 200, 500, 200]
    assert [answer.document["predictions"] for answer in answers if answer.status == 200] == [[2.0], [4.0], [6.0]]


def test_request_that_finds_the_model_idle_goes_alone_and_at_once(patient: RuntimeServer) -> None:
    answer = patient.predict({"inputs": {"x": [1.0, 2.0]}})
    (line,) = patient.awaited(lambda line: line.get("request_id") == answer.headers["x-request-id"])

    assert answer.document == {"predictions": [2.0, 4.0]}
    assert line["merged"] == 1


def test_requests_are_predicted_alone_if_the_setting_says_so(start: Start, hard_models: Path) -> None:
    server = start(hard_models / "patient", "--workers", "1", "--batch", "off")
    server.wait_until_ready()

    assert [answer.document for answer in together(server, [1.0, 2.0])] == [
        {"predictions": [2.0]},
        {"predictions": [4.0]},
    ]
    assert merged(server, 3) == [1, 1, 1]


def test_depth_of_the_queue_is_told_after_each_call(start: Start, hard_models: Path) -> None:
    server = start(hard_models / "patient", "--workers", "1", "--batch", "off")
    server.wait_until_ready()
    depths = []
    with ThreadPoolExecutor(4) as clients, held_calls() as held:
        asked = [clients.submit(server.predict, {"inputs": {"x": [held.port]}}) for _ in range(4)]
        held.wait_for_call()
        server.wait_until_inflight(4)
        for _ in range(3):
            held.let_go()
            held.wait_for_call()  # the next one, after the depth is told
            depths.append(numbers(server)["model_api_runtime_queue_depth"])
        held.let_go()
        assert {each.result().status for each in asked} == {200}

    assert [*depths, numbers(server)["model_api_runtime_queue_depth"]] == [3, 2, 1, 0]


def test_request_whose_time_ends_while_it_waits_is_not_predicted(patient: RuntimeServer) -> None:
    with ThreadPoolExecutor(1) as clients, held_calls() as held:
        first = clients.submit(patient.predict, {"inputs": {"x": [held.port]}})
        held.wait_for_call()
        late = patient.ask(
            "POST", "/invocations", json.dumps({"inputs": {"x": [-1.0]}}), JSON | {"X-Request-Timeout-Ms": "100"}
        )

        assert (late.status, late.document["error_code"]) == (504, "DEADLINE_EXCEEDED")
        failed = patient.process.log.read_text().count("the model failed")
        held.let_go()
        assert first.result().status == 200
    assert patient.predict({"inputs": {"x": [1.0]}}).status == 200
    assert patient.process.log.read_text().count("the model failed") == failed


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("mixing", "it predicts something else for a row among others"),
        ("dice", "it predicts something else each time"),
        ("sleeper", "the model has no input example to try it with"),
    ],
)
def test_model_whose_requests_cannot_be_merged_says_why(
    start: Start, hard_models: Path, model: str, reason: str
) -> None:
    server = start(hard_models / model, "--workers", "1")
    server.wait_until_ready()

    assert [line["reason"] for line in server.lines() if line["message"] == "requests are not merged"] == [reason]
