"""Settings are declared once: names, defaults, precedence and errors come from the declaration."""

from dataclasses import dataclass

import pytest

from model_contract.setting_types import boolean, one_of, optional, whole_number
from model_contract.settings import SettingError, read_settings, setting, settings_of

PREFIX = "APP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    address: str = setting("Address of the server.", read=str, default=None)
    most_rows: int = setting("Rows of one request.", read=whole_number(1, 100), default="10")
    port: int = setting("Port to listen on.", read=whole_number(1), default="80", variable="PORT", option="--listen")
    level: str = setting("Level of the log.", read=one_of(("info", "debug")), default="info", default_text="quiet")
    quick: bool = setting("Skips the check.", read=boolean, default="false")
    name: str | None = setting("Name of the model.", read=optional(str), example="wine")
    mode: str = setting("Kind of the token.", read=one_of(("pull", "none")), default="pull", secret=True)


def read(variables: dict[str, str], **options: str | None) -> Settings:
    return read_settings(Settings, {"APP_ADDRESS": "x"} | variables, prefix=PREFIX, options=options)


def test_names_and_defaults_come_from_the_declaration() -> None:
    found = {declared.name: declared for declared in settings_of(Settings, prefix=PREFIX)}

    assert list(found) == ["address", "most_rows", "port", "level", "quick", "name", "mode"]
    assert (found["most_rows"].variable, found["most_rows"].option) == ("APP_MOST_ROWS", "--most-rows")
    assert (found["port"].variable, found["port"].option) == ("PORT", "--listen")
    assert (found["level"].default, found["level"].default_text) == ("info", "quiet")
    assert [name for name, declared in found.items() if declared.default is None] == ["address"]


def test_option_wins_over_variable_and_variable_over_default() -> None:
    assert read({}) == Settings(address="x")
    assert read({"APP_MOST_ROWS": "20"}).most_rows == 20
    assert read({"APP_MOST_ROWS": "20"}, most_rows="30").most_rows == 30
    assert read({"APP_MOST_ROWS": "20"}, most_rows=None).most_rows == 20


def test_computed_default_stands_between_variable_and_declared_default() -> None:
    variables = {"APP_ADDRESS": "x", "PORT": "90"}

    found = read_settings(Settings, variables, prefix=PREFIX, computed={"port": "70", "most_rows": "5"})

    assert (found.port, found.most_rows, found.level) == (90, 5, "info")


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({"APP_MOST_ROWS": "0"}, {}, 'APP_MOST_ROWS="0": it must be a whole number from 1 to 100'),
        ({}, {"most_rows": "1e2"}, '--most-rows="1e2": it must be a whole number from 1 to 100'),
        ({"PORT": "0"}, {}, 'PORT="0": it must be a whole number from 1'),
        ({"APP_LEVEL": "Info"}, {}, 'APP_LEVEL="Info": it must be one of info, debug'),
        ({"APP_QUICK": "yes"}, {}, 'APP_QUICK="yes": it must be "true" or "false"'),
        ({"APP_MODE": "dmg1_r_secret"}, {}, "APP_MODE: it must be one of pull, none"),
        ({}, {"mode": "dmg1_r_secret"}, "--mode: it must be one of pull, none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_error_names_the_setting_its_value_and_what_is_allowed(
    variables: dict[str, str], options: dict[str, str | None], message: str
) -> None:
    with pytest.raises(SettingError) as refused:
        read(variables, **options)

    assert str(refused.value) == message


def test_error_hides_a_password_and_cuts_a_long_value() -> None:
    error = SettingError("PROXY", "http://jane:secret@proxy.example" + "/path" * 20, "it must end with its host")

    assert str(error) == 'PROXY="http://***@proxy.example/path/path/path/...": it must end with its host'
    assert "secret" not in str(SettingError("PROXY", "http://jane:s/secret@proxy.example", "it must be shorter"))
