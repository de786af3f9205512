from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_contract.retry_after import MAX_SECONDS, retry_after

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("1.5", 2),
        ("0.2", 1),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30),
        ("Sun Nov  6 08:49:37 1994", 30),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Sunday, 06-Nov-44 08:49:37 GMT", 1577923230),
        ("Wednesday, 06-Nov-63 08:49:37 GMT", 0),
        ("9" * 400, MAX_SECONDS),
    ],
    ids=str,
)
def test_seconds_and_dates_of_all_three_forms_are_read(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


def test_a_part_of_a_second_before_a_date_is_waited_for_as_a_whole_one() -> None:
    now = NOW + timedelta(milliseconds=600)

    assert retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now) == 30


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "-1",
        "+1",
        "1e3",
        "nan",
        "inf",
        "1,2",
        "١٢",
        "0x10",
        "soon",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
    ],
    ids=ascii,
)
def test_value_that_is_neither_seconds_nor_a_date_is_none(value: str | None) -> None:
    assert retry_after(value, NOW) is None


@given(st.text(max_size=40))
def test_no_text_raises_or_asks_for_a_negative_wait(text: str) -> None:
    found = retry_after(text, NOW)

    assert found is None or 0 <= found <= MAX_SECONDS * 1000


@given(st.integers(min_value=0, max_value=10**8))
def test_a_date_that_was_written_is_read_as_its_distance(seconds: int) -> None:
    assert retry_after(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True), NOW) == seconds
