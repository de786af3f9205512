"""A model that answers in pieces, as server-sent events."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.runtime_server import JSON, Answer, RuntimeServer, serving


@pytest.fixture(scope="module")
def streamer(hard_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    with serving(hard_models / "streamer", "--workers", "1", log=tmp_path_factory.mktemp("streamer") / "log") as server:
        yield server


def wish(content: str, **more: Any) -> str:
    return json.dumps({"messages": [{"role": "user", "content": content}], **more})


def events(answer: Answer) -> list[Any]:
    frames = answer.body.decode().split("\n\n")
    assert frames.pop() == ""
    assert frames.pop() == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


@pytest.mark.parametrize(
    ("body", "headers"),
    [(wish("count", stream=True), JSON), (wish("count"), JSON | {"Accept": "text/event-stream"})],
    ids=["asked in the body", "asked by a header"],
)
def test_answer_comes_in_pieces_if_the_client_asks_for_it(
    streamer: RuntimeServer, body: str, headers: dict[str, str]
) -> None:
    answer = streamer.ask("POST", "/invocations", body, headers)

    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert events(answer) == [{"content": number} for number in range(4)]


def test_answer_is_whole_if_the_client_does_not_ask_for_pieces(streamer: RuntimeServer) -> None:
    assert streamer.ask("POST", "/invocations", wish("count"), JSON).document == {"content": "whole"}


def test_failure_before_the_first_piece_has_a_status(streamer: RuntimeServer) -> None:
    answer = streamer.ask("POST", "/invocations", wish("fail at once", stream=True), JSON)

    assert (answer.status, answer.document["error_code"]) == (500, "INTERNAL_ERROR")


def test_rows_for_a_model_that_streams_one_are_refused_without_the_input(streamer: RuntimeServer) -> None:
    body = json.dumps({"dataframe_records": [{"a": "secret"}, {"a": "b"}], "stream": True})

    answer = streamer.ask("POST", "/invocations", body, JSON)

    assert (answer.status, answer.document["message"]) == (
        400,
        "input: several rows, and a model that answers in pieces takes one",
    )


def test_failure_after_it_is_reported_in_the_stream(streamer: RuntimeServer) -> None:
    first, failure = events(streamer.ask("POST", "/invocations", wish("fail later", stream=True), JSON))

    assert first == {"content": 0}
    assert failure["error"].startswith("the model failed")
    assert "secret" not in failure["error"]


def test_client_that_hangs_up_stops_the_generator(streamer: RuntimeServer, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    body = wish(str(stopped), stream=True).encode()
    with streamer.connect() as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        received = b""
        while b"more" not in received:
            received += connection.recv(65_536)

    streamer.wait_until(stopped.exists)
    streamer.wait_until(lambda: any(line.get("status") == 499 for line in streamer.lines()))


def test_others_are_answered_beside_a_stream(streamer: RuntimeServer, tmp_path: Path) -> None:
    body = wish(str(tmp_path / "stopped"), stream=True).encode()
    with streamer.connect() as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connection.recv(65_536)

        assert streamer.ask("POST", "/invocations", wish("count"), JSON).status == 200
        assert events(streamer.ask("POST", "/invocations", wish("count", stream=True), JSON))[0] == {"content": 0}
