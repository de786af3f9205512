"""A browser, and servers for it: a model of a table, one with parameters, one of a thousand columns."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from testbed.browser import browser as real_browser
from testbed.processes import PATIENCE
from testbed.runtime_server import NATIVE, RuntimeServer, starting

COLUMNS = 1000
TOKEN = "a-token/of+this.server=="


def widened(model: Path, target: Path) -> Path:
    """Copy the model with a signature of a thousand columns."""
    shutil.copytree(model, target)
    document = yaml.safe_load((target / "MLmodel").read_text())
    inputs = [{"type": "double", "name": f"measure {number}", "required": True} for number in range(COLUMNS)]
    document["signature"]["inputs"] = json.dumps(inputs)
    (target / "MLmodel").write_text(yaml.safe_dump(document))
    return target


@pytest.fixture(scope="module")
def servers(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RuntimeServer]]:
    directory = tmp_path_factory.mktemp("page")
    wide = widened(models / "two-doubles", directory / "wide")
    with ExitStack() as stack:
        named = ("--model-name", "wine-quality", "--model-version", "3")
        started = {
            name: stack.enter_context(starting(model, *flags, *named, log=directory / f"{name}.log"))
            for name, model, *flags in (
                ("wine", models / "wine", *NATIVE, "--workers", "1"),
                ("params", models / "params", "--workers", "1"),
                ("wide", wide, "--workers", "1"),
            )
        }
        (directory / "tokens").write_text(f"{TOKEN}\n")
        flags = (*NATIVE, "--workers", "1", "--token-file", str(directory / "tokens"), *named)
        started["guarded"] = stack.enter_context(starting(models / "wine", *flags, log=directory / "guarded.log"))
        for server in started.values():
            server.wait_until_ready()
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with real_browser() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which an error of a script, or of the policy, fails the test; a refused request does not."""
    context = browser.new_context(viewport={"width": 1240, "height": 800})
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [text for text in complaints if "status of 40" not in text] == []
