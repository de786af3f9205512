"""Log lines: one JSON object each, with the fields of the line."""

import json
import logging

import pytest

from model_contract.json_log import JsonFormatter, dumps, timestamp


def record(*, error: Exception | None = None) -> logging.LogRecord:
    information = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("app.part", logging.WARNING, "file.py", 1, "model %s", ("wine",), information)
    made.created, made.fields = 1_700_000_000.25, {"größe": 3}
    return made


def test_line_has_time_level_logger_message_and_fields() -> None:
    line = JsonFormatter(dumps).format(record())

    assert line == (
        '{"time": "2023-11-14T22:13:20.250+00:00", "level": "warning", "logger": "app.part", "message": "model wine",'
        ' "größe": 3}'
    )


def test_line_without_logger_has_traceback_in_the_field_of_the_application() -> None:
    formatter = JsonFormatter(dumps, names_logger=False, traceback_field="traceback")

    line = json.loads(formatter.format(record(error=ValueError("no model"))))

    assert list(line) == ["time", "level", "message", "größe", "traceback"]
    assert line["traceback"] == "ValueError: no model"


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "1970-01-01T00:00:00.000"), (59.9996, "1970-01-01T00:00:59.999")])
def test_time_is_cut_to_milliseconds(seconds: float, text: str) -> None:
    assert timestamp(seconds) == f"{text}+00:00"
