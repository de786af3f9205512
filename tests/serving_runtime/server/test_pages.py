"""Pages about the model."""

from collections.abc import Callable
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from testbed.runtime_server import RuntimeServer

UNUSABLE = "the model is not warmed: its input example cannot be used: "


def test_info_describes_the_model(wine: RuntimeServer) -> None:
    info = wine.get("/info").document

    assert (info["model"]["name"], info["model"]["flavor"], info["model"]["mlflow_version"]) == (
        "model",
        "sklearn",
        "3.17.2",
    )
    assert [column["name"] for column in info["signature"]["inputs"]] == ["fixed acidity", "pH", "alcohol"]
    assert set(info["example"]) == {"dataframe_split"}
    assert info["serving"]["loader"] in {"native", "mlflow"}
    assert info["serving"]["batches"] == {"merged": True, "reason": None}
    assert info["example_problem"] is None


@pytest.mark.parametrize("batch", ["auto", "16"])
def test_example_that_the_type_hint_refuses_is_reported_in_info_and_in_the_log(
    start: Callable[..., RuntimeServer], with_refused_example: Path, batch: str
) -> None:
    server = start(with_refused_example, "--workers", "1", "--batch", batch)
    server.wait_until_ready()

    info = server.get("/info").document
    assert info["example_problem"].startswith(UNUSABLE)
    assert info["serving"]["batches"] == {
        "merged": False,
        "reason": "the model has no input example that can be used",
    }
    warnings = [line for line in server.lines() if line["message"].startswith(UNUSABLE)]
    assert [(line["level"], line["message"]) for line in warnings] == [("warning", info["example_problem"])]


@pytest.mark.parametrize("flags", [(), ("--batch", "16"), ("--warm-up", "false")], ids=" ".join)
def test_example_that_cannot_be_read_is_reported_in_info_and_in_the_log(
    start: Callable[..., RuntimeServer], with_refused_example: Path, flags: tuple[str, ...]
) -> None:
    (with_refused_example / "serving_input_example.json").write_text("[]")
    server = start(with_refused_example, "--workers", "1", *flags)
    server.wait_until_ready()

    problem = f"{UNUSABLE}its file holds no JSON object"
    assert server.get("/info").document["example_problem"] == problem
    warnings = [line for line in server.lines() if line["message"].startswith(UNUSABLE)]
    assert [(line["level"], line["message"]) for line in warnings] == [("warning", problem)]


def test_openapi_is_a_valid_document(wine: RuntimeServer) -> None:
    validate(wine.get("/openapi.json").document)


def test_docs_is_a_page(wine: RuntimeServer) -> None:
    answer = wine.get("/docs")

    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")
