"""The header Accept of `/invocations`: Arrow and events only if they are named, and JSON has no greater weight."""

import time

import pytest

from serving_runtime.protocols.mlflow.request import answers_in_arrow, answers_in_pieces

NAME = "application/vnd.apache.arrow.stream"
PREFERRED = [
    NAME,
    NAME.upper(),
    f"text/html, {NAME}",
    f"{NAME};q=0.001",
    f"{NAME}, application/json",
    f"*/*,{NAME}",
    f"application/json;q=0.5,\t{NAME} ; charset=x ; Q=0.7",
    f"application/json;q=0, */*, {NAME}",
]
OTHERS = [
    "",
    "*/*",
    "application/*",
    "application/json",
    f"{NAME};q=0",
    f"{NAME};q=0.000",
    f"{NAME};q=0.5, application/json",
    f"{NAME};q=0.5, application/*",
    f"{NAME};q=0.5, */*;q=0.6",
    f"{NAME}ing",
    f"x{NAME}",
    f"text/plain; note={NAME}",
]


@pytest.mark.parametrize("accept", PREFERRED)
def test_arrow_is_the_answer_if_it_is_named_and_json_has_no_greater_weight(accept: str) -> None:
    assert answers_in_arrow(accept.encode())


@pytest.mark.parametrize("accept", OTHERS)
def test_arrow_is_not_the_answer_otherwise(accept: str) -> None:
    assert not answers_in_arrow(accept.encode())


@pytest.mark.parametrize(
    ("accept", "pieces"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("application/json, text/event-stream", True),
        ("*/*", False),
        ("text/event-stream;q=0", False),
        ("application/json, text/event-stream;q=0.9", False),
    ],
)
def test_answer_comes_in_pieces_by_the_same_rule(accept: str, pieces: bool) -> None:
    assert answers_in_pieces(accept.encode()) is pieces


@pytest.mark.parametrize("part", [",", " ,", "; ", ";q=", f"{NAME} x,", "application/json;", "\t"])
def test_header_of_many_parts_takes_no_time(part: str) -> None:
    """It takes milliseconds; each part compared with each other would take many seconds."""
    accept = (part * (64 << 10))[: 64 << 10].encode()
    began = time.thread_time()

    answers_in_arrow(accept)

    assert time.thread_time() - began < 1
