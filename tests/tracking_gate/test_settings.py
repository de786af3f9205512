"""Settings of the gate: each is declared once, and read before the server is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from model_contract.settings import SettingError
from tracking_gate.settings import SETTINGS, ServeSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"upstream": "mlflow:5000"}, "--upstream: it must be a URL, such as http://"),
        ({"domino_url": "domino"}, "--domino-url: it must be a URL, such as https://"),
        ({"people_header": "X-User"}, '--people-header="X-User": it needs --people-file'),
        ({"admins": ("jane",)}, '--admin="jane": it names a user of Domino and needs --domino-url'),
        ({"proxies": ("10.0.0.0/8", "proxy")}, "--proxy: it must be an address or a network"),
    ],
    ids=["upstream", "domino", "header", "admin", "proxy"],
)
def test_setting_that_cannot_be_right_is_refused_and_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as refused:
        ServeSettings(**{"upstream": "http://mlflow:5000", "secret_dir": Path(), **given})  # type: ignore[arg-type]

    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "text"),
    [("port", "65536"), ("port", "-1"), ("attempts", "0"), ("client_pause", "0.5"), ("client_pause", "nan")],
)
def test_number_outside_its_bounds_is_refused(name: str, text: str) -> None:
    declared = next(declared for declared in SETTINGS if declared.name == name)

    with pytest.raises(SettingError, match="it must be"):
        declared.value_of(text, declared.option)


def test_path_of_another_kind_is_refused(tmp_path: Path) -> None:
    (directory,) = (declared for declared in SETTINGS if declared.name == "secret_dir")
    (file,) = (declared for declared in SETTINGS if declared.name == "people_file")
    (tmp_path / "file").touch()

    with pytest.raises(SettingError, match="it must be a directory that can be read"):
        directory.value_of(str(tmp_path / "file"), "--secret-dir")
    with pytest.raises(SettingError, match="it must be a file that can be read"):
        file.value_of(str(tmp_path), "--people-file")


def test_other_commands_start_without_the_server() -> None:
    code = "import sys, tracking_gate.cli; print('aiohttp' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "False\n"
