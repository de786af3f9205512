"""The tracking UI of both MLflows through the gate, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from testbed.browser import browser
from testbed.gate import PASSWORD, Gate
from tests.tracking_gate.conftest import Wine, wine_behind

MOVE = "/ajax-api/2.0/mlflow/model-versions/transition-stage"
SECONDS = 60_000.0  # that a page may take on a machine that is busy
FETCH = """async ([path, body]) => {
    const headers = {"Content-Type": "application/json"};
    const answer = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
    return [answer.status, (await answer.json()).message];
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def staged(any_gate: Gate) -> tuple[Wine, str]:
    wine = wine_behind(any_gate, "0-wine")  # MLflow's page shows the first 25 models by name, of all tests before
    version = wine.version()
    assert wine.move(version, "Staging", any_gate.basic("jane")).status == 200
    return wine, version


@pytest.fixture(scope="module")
def page(chromium: Browser, any_gate: Gate) -> Iterator[Page]:
    """Return the page of Jane's browser, which sends her password when MLflow's UI asks, and loads the UI once."""
    context = chromium.new_context(base_url=any_gate.uri, http_credentials={"username": "jane", "password": PASSWORD})
    found = context.new_page()
    found.set_default_timeout(SECONDS)
    yield found
    context.close()


def test_stranger_is_asked_for_a_password(chromium: Browser, gate_3: Gate) -> None:
    """The gate asks, whatever MLflow is behind it."""
    context = chromium.new_context(base_url=gate_3.uri, http_credentials={"username": "jane", "password": "wrong"})
    answer = context.new_page().goto("/")
    context.close()

    assert answer is not None
    assert answer.status == 401


def test_person_sees_models_versions_and_runs(page: Page, staged: tuple[Wine, str]) -> None:
    """The pages show no error."""
    wine, version = staged
    faults: list[str] = []

    def look(answer: Response) -> None:
        # A version without a model's files has no schema; who is told so by MLflow is told so by the gate.
        if answer.status >= 400 and not any(
            part in answer.url for part in ("get-artifact", "/assistant/", "/users/current")
        ):
            faults.append(f"{answer.status} {answer.url}")

    page.on("response", look)
    page.goto("/#/models")
    expect(page.get_by_role("link", name=wine.name, exact=True)).to_be_visible(timeout=SECONDS)
    page.goto(f"/#/models/{wine.name}/versions/{version}")
    expect(page.get_by_text("Staging", exact=True).first).to_be_visible(timeout=SECONDS)
    page.goto(f"/#/experiments/{wine.experiment}/runs/{wine.run}")
    expect(page.get_by_text(wine.run).first).to_be_visible(timeout=SECONDS)
    page.goto(f"/#/experiments/{wine.experiment}")
    expect(page.get_by_text(wine.name).first).to_be_visible(timeout=SECONDS)

    assert faults == []
    assert page.get_by_text("PERMISSION_DENIED").count() == 0


def test_person_does_not_reach_production_in_the_browser(page: Page, staged: tuple[Wine, str]) -> None:
    """The request is the one that the page of a version sends."""
    wine, version = staged
    page.goto(f"/#/models/{wine.name}/versions/{version}")
    expect(page.get_by_text("Staging", exact=True).first).to_be_visible(timeout=SECONDS)
    body = {"name": wine.name, "version": version, "stage": "Production", "archive_existing_versions": True}

    assert page.evaluate(FETCH, [MOVE, body]) == [
        403,
        "moving a version into or out of Production needs the promote token of the project",
    ]
    assert wine.stage(version) == "Staging"
