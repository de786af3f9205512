import io
import sys

import pytest

from model_delivery.log import line, log

SHOWN = {
    "plain": "plain",
    "1/r/artifacts": "1/r/artifacts",
    "two words": '"two words"',
    "a\nb": '"a\\nb"',
    '"': '"\\""',
    "": '""',
}


@pytest.mark.parametrize(("value", "shown"), SHOWN.items(), ids=ascii)
def test_a_value_is_quoted_if_it_could_be_misread(value: str, shown: str) -> None:
    assert line("message", name=value) == f"message name={shown}"


class Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [Gone(), None], ids=["a reader that is gone", "a stream that the shell has closed"])
def test_work_goes_on_if_the_reader_has_gone(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    monkeypatch.setattr(sys, "stderr", stream)

    log("message")
