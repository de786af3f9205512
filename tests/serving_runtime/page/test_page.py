"""`/docs` in a real browser: a person fills in the columns, presses a button, and sees what the model predicts."""

import json
import os
import subprocess
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from testbed.processes import PATIENCE
from testbed.runtime_server import RuntimeServer
from tests.serving_runtime.page.conftest import TOKEN

Servers = dict[str, RuntimeServer]
EXAMPLE = "[0.0012301533574825742, 0.2987455375084699, -0.2741378553622176]"


def visit(page: Page, server: RuntimeServer) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.locator("#name")).to_have_text("wine-quality")


def test_page_shows_the_model_and_fills_in_its_example(page: Page, servers: Servers) -> None:
    visit(page, servers["wine"])

    expect(page.locator("#facts")).to_contain_text("Version3")
    expect(page.locator("#facts")).to_contain_text("Flavorsklearn")
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.get_by_label("fixed acidity")).to_have_value("0.0012301533574825742")


def test_button_shows_the_prediction_and_its_time(page: Page, servers: Servers) -> None:
    visit(page, servers["wine"])
    page.get_by_label("pH").fill("2")
    page.get_by_role("button", name="Predict").click()

    row = [0.0012301533574825742, 2, -0.2741378553622176]
    columns = ["fixed acidity", "pH", "alcohol"]
    asked = servers["wine"].predict({"dataframe_split": {"columns": columns, "data": [row]}})
    expect(page.locator("#result .one")).to_have_text(str(asked.document["predictions"][0]))
    expect(page.locator("#latency")).to_contain_text("ms")


def test_command_that_the_page_shows_predicts_the_same(page: Page, servers: Servers) -> None:
    visit(page, servers["wine"])
    page.get_by_label("alcohol").fill("1.5")
    page.keyboard.press("Control+Enter")
    shown = page.locator("#result .one").inner_text()

    done = subprocess.run(
        ["/bin/bash", "-c", page.locator("#curl").inner_text()], capture_output=True, text=True, check=True
    )

    assert str(json.loads(done.stdout)["predictions"][0]) == shown


def test_wrong_value_is_marked_at_its_field_and_can_be_corrected(page: Page, servers: Servers) -> None:
    visit(page, servers["wine"])
    field = page.get_by_label("pH")
    field.fill("acid")
    field.press("Enter")

    expect(page.locator(".field.bad")).to_have_count(1)
    expect(page.locator(".field.bad .why")).to_contain_text("a string, where the model takes a number")
    expect(page.locator("#problem")).to_have_text("One field has to be mended.")
    expect(field).to_be_focused()

    field.fill("3.1")
    field.press("Enter")

    expect(page.locator("#result .one")).to_be_visible()
    expect(page.locator(".field.bad")).to_have_count(0)
    expect(page.locator("#problem")).to_be_hidden()


def test_parameters_are_sent_with_the_input(page: Page, servers: Servers) -> None:
    visit(page, servers["params"])
    page.locator("#fields input").first.fill("9007199254740993")
    page.locator("#params").get_by_label("k").fill("7")
    page.get_by_role("button", name="Predict").click()

    expect(page.locator("#result")).to_contain_text("int 9007199254740993")
    expect(page.locator("#result")).to_contain_text('"k": "int 7"')


def test_body_can_be_written_as_json(page: Page, servers: Servers) -> None:
    visit(page, servers["wine"])
    page.get_by_text("JSON", exact=True).first.click()
    body = page.get_by_label("Request body")
    assert json.loads(body.input_value())["dataframe_split"]["data"] == [json.loads(EXAMPLE)]

    body.fill('{"dataframe_records": [{"pH": 1}]}')
    page.keyboard.press("Control+Enter")

    expect(page.locator("#problem")).to_contain_text("fixed acidity")


def test_thousand_columns_are_searched_by_keyboard_and_predicted(page: Page, servers: Servers) -> None:
    visit(page, servers["wide"])
    expect(page.locator("#fields .field")).to_have_count(1000)
    page.keyboard.press("/")
    page.keyboard.type("measure 777")

    expect(page.locator("#fields .field:visible")).to_have_count(1)

    page.get_by_label("measure 777").fill("0.25")
    page.get_by_label("measure 777").press("Enter")

    expect(page.locator("#result")).to_contain_text("float 0.25")


def test_page_asks_for_the_token_that_the_server_needs(page: Page, servers: Servers) -> None:
    page.goto(f"{servers['guarded'].url}/docs")
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    expect(page.locator("#name")).to_have_text("Model")
    expect(page.get_by_role("button", name="Predict")).to_be_hidden()

    field.fill("another")
    page.get_by_role("button", name="Use token").click()
    expect(page.locator("#refused")).to_have_text("The server does not accept this token.")

    field.fill(f" {TOKEN} ")
    page.get_by_role("button", name="Use token").click()
    expect(page.locator("#name")).to_have_text("wine-quality")
    expect(page.locator("#refused")).to_be_hidden()

    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#result .one")).to_be_visible()


def unlocked(page: Page, server: RuntimeServer) -> None:
    page.goto(f"{server.url}/docs")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    expect(page.locator("#name")).to_have_text("wine-quality")


def test_command_of_a_guarded_server_has_a_variable_and_not_the_token(page: Page, servers: Servers) -> None:
    unlocked(page, servers["guarded"])
    page.get_by_role("button", name="Predict").click()
    shown = page.locator("#result .one").inner_text()
    command = page.locator("#curl").inner_text()

    done = subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, text=True, check=True, env=os.environ | {"TOKEN": TOKEN}
    )

    assert str(json.loads(done.stdout)["predictions"][0]) == shown
    assert "$TOKEN" in command
    assert TOKEN not in page.content()


def test_token_is_kept_in_the_page_only(page: Page, servers: Servers) -> None:
    unlocked(page, servers["guarded"])

    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
    )
    assert TOKEN not in kept
    page.reload()
    expect(page.get_by_label("Token")).to_have_value("")


def test_page_asks_again_for_a_token_that_the_server_refuses(page: Page, servers: Servers) -> None:
    unlocked(page, servers["guarded"])
    page.get_by_label("Token").fill("of yesterday")
    page.get_by_role("button", name="Predict").click()

    expect(page.locator("#refused")).to_have_text("The server does not accept this token.")
    expect(page.locator("#result")).to_contain_text("No prediction: 401")


@pytest.mark.parametrize(("link", "part"), [("OpenAPI", '"openapi":"3.1.0"'), ("Info", '"signature"')])
def test_links_of_a_guarded_page_open_with_its_token(link: str, part: str, page: Page, servers: Servers) -> None:
    unlocked(page, servers["guarded"])

    with page.expect_popup() as opened:
        page.get_by_role("link", name=link).click()

    expect(opened.value.locator("body")).to_contain_text(part)


def test_page_of_an_open_server_asks_for_no_token(page: Page, servers: Servers) -> None:
    visit(page, servers["wine"])

    expect(page.get_by_label("Token")).to_be_hidden()
    assert "TOKEN" not in page.locator("#curl").inner_text()


def test_page_loads_nothing_from_other_hosts(page: Page, servers: Servers) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, servers["wine"])
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#result .one")).to_be_visible()

    assert {urlsplit(url).path for url in asked if not url.startswith("data:")} == {
        "/docs",
        "/info",
        "/readyz",
        "/invocations",
    }
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {
        urlsplit(servers["wine"].url).netloc
    }


def test_content_security_policy_of_the_page_blocks_other_parts(servers: Servers) -> None:
    policy = servers["wine"].get("/docs").headers["content-security-policy"]

    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("width", [360, 1240], ids=["narrow", "wide"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_fits_the_screen_in_both_themes(theme: str, width: int, browser: Browser, servers: Servers) -> None:
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=theme)  # type: ignore[arg-type]  # one of both
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    visit(page, servers["wine"])
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result .one")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground, text = page.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    assert (brightness(ground) > brightness(text)) is (theme == "light")
    context.close()


def brightness(color: str) -> int:
    return sum(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(", "))
