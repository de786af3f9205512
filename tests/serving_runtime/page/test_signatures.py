"""`/docs` in a real browser for a model of each kind of signature: its example is filled in, sent and answered."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from testbed.runtime_server import RuntimeServer, serving

ROW = {"columns": ["a", "b"], "data": [[1, 0.5], [2, 3.0]]}
# The body that the page sends, whether it has fields, and what it shows of the answer.
KINDS: dict[str, tuple[Any, bool, list[str]]] = {
    "texts": ({"inputs": ["hi", "hello"]}, False, ["2", "5"]),
    "texts-without-example": ({"inputs": [""]}, False, ["0"]),
    "people": (
        {"inputs": [{"name": "Ann", "age": 3, "tags": None}, {"name": "Bo", "age": 4, "tags": ["new"]}]},
        False,
        ["Ann is 3", "Bo is 4"],
    ),
    "dicts": (
        {"inputs": [{"a": 1.0, "b": 9007199254740993}, {"c": None}]},
        False,
        ["a=1.0 b=9007199254740993", "c=None"],
    ),
    "tensor": ({"inputs": [[1.0, 2.0], [3.0, 4.5]]}, True, ["3.0", "7.5"]),
    "tensors": ({"inputs": {"ids": [[1, 2], [3, 4]], "mask": [True, False]}}, True, ["3", "0"]),
    "params": (
        {"dataframe_split": {"columns": ["a", "b"], "data": [[9007199254740993, 2]]}, "params": {"times": 2}},
        True,
        ["18014398509481990"],
    ),
    "unnamed": ({"dataframe_split": {"data": [["hi"]]}}, True, ["2"]),
    "free": ({"dataframe_split": ROW}, False, ["1.5", "5.0"]),
    "chat": (
        {
            "messages": [{"role": "user", "content": "Hello!"}],
            "temperature": 1.0,
            "max_tokens": 10,
            "stop": ["\n"],
            "n": 1,
            "stream": False,
        },
        False,
        ["HELLO!"],
    ),
}


def command_on(page: Page) -> str:
    return page.locator("#curl").inner_text()


def sent_by(command: str) -> str:
    found = re.search(r"-d '(.*)'$", command, re.DOTALL)
    assert found
    return found[1]


def exact(text: str) -> Any:
    """Numbers with the text that they were written in."""
    return json.loads(text, parse_float=lambda digits: ("float", digits), parse_int=lambda digits: ("int", digits))


def written_as_json(page: Page, server: RuntimeServer, *, has_fields: bool) -> str:
    if has_fields:
        page.get_by_text("JSON", exact=True).first.click()
    return page.get_by_label("Request body").input_value()


@pytest.mark.parametrize("kind", KINDS)
def test_page_sends_the_example_of_each_kind_of_signature(
    kind: str, page: Page, example_models: Path, tmp_path: Path
) -> None:
    body, has_fields, shown = KINDS[kind]
    with serving(example_models / kind, "--workers", "1", log=tmp_path / "log") as server:
        page.goto(f"{server.url}/docs")
        expect(page.locator("#curl")).to_contain_text("curl")
        page.get_by_role("button", name="Predict").click()
        for text in shown:
            expect(page.locator("#result")).to_contain_text(text)
        command = command_on(page)
        done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=True)
        tab = written_as_json(page, server, has_fields=has_fields)

        assert page.locator(".modes").is_visible() is has_fields
        assert exact(sent_by(command)) == exact(tab) == exact(json.dumps(body))
        assert all(text in done.stdout for text in shown)
        without = "No example" in page.locator("#hint").inner_text()
        assert without is kind.endswith("-without-example")
        assert server.get("/info").document["signature"]["typed_in_code"] is kind.startswith(
            ("texts", "people", "dicts")
        )


@pytest.fixture(scope="module")
def registered(example_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    """A model with the file that MLflow's client writes when it downloads a version, and no name otherwise."""
    directory = tmp_path_factory.mktemp("registered")
    model = shutil.copytree(example_models / "tensor", directory / "model")
    (model / "registered_model_meta").write_text("model_name: sums\nmodel_version: '7'\n")
    with serving(model, "--workers", "1", log=directory / "log") as server:
        yield server


def test_long_number_stays_on_one_line_of_any_width(page: Page, registered: RuntimeServer) -> None:
    page.goto(f"{registered.url}/docs")
    page.get_by_role("textbox", name="input").fill("[[-1.2345678901234567e-301, 0]]")
    page.get_by_role("button", name="Predict").click()
    number = page.locator("#result .one")
    expect(number).to_contain_text("-1.2345678901234567e-301")

    for width in (360, 400, 1240):
        page.set_viewport_size({"width": width, "height": 740})
        height, line, hidden = number.evaluate(
            "node => [node.getBoundingClientRect().height, parseFloat(getComputedStyle(node).lineHeight),"
            " node.scrollWidth - node.clientWidth]"
        )
        assert height < 1.5 * line, width
        assert hidden <= 0, width


def test_page_links_to_the_metrics(page: Page, registered: RuntimeServer) -> None:
    page.goto(f"{registered.url}/docs")
    page.get_by_role("link", name="Metrics").click()

    expect(page.locator("body")).to_contain_text("model_api_runtime_")


def test_page_has_the_name_that_the_registry_gave_the_model(page: Page, registered: RuntimeServer) -> None:
    page.goto(f"{registered.url}/docs")

    expect(page.locator("#name")).to_have_text("sums")
    expect(page).to_have_title("sums 7")
    assert registered.get("/v2/models/sums").status == 200


def test_first_line_of_the_log_names_the_page(page: Page, registered: RuntimeServer) -> None:
    first = registered.lines()[0]

    assert (first["model"], first["address"]) == ("sums", registered.url)
    page.goto(first["docs"])
    expect(page.locator("#name")).to_have_text("sums")
