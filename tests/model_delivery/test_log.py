import pytest

from model_delivery.log import line

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
