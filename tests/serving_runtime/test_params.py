"""Parameters that are times: the model gets Python's datetime, which counts microseconds."""

from datetime import datetime
from typing import Any

import pytest

from serving_runtime.errors import InvalidInputError
from serving_runtime.input.params import conform_params
from serving_runtime.signature import Param, Scalar

FINE = "2026-01-31T12:30:45.1234567"
TIME = "2026-01-31T12:30:45.123456"
MOMENT = datetime(2026, 1, 31, 12, 30, 45, 123456)  # noqa: DTZ001  what the model gets has no zone


def conformed(value: Any, *, is_list: bool) -> Any:
    params = (Param(name="since", type=Scalar(name="datetime"), is_list=is_list),)
    return conform_params({"since": value}, params, "params")


@pytest.mark.parametrize(("value", "found"), [(TIME, MOMENT), (f"{TIME}000Z", MOMENT), ([TIME, TIME], [MOMENT] * 2)])
def test_time_with_six_digits_of_a_second_is_given_whole(value: Any, found: Any) -> None:
    assert conformed(value, is_list=isinstance(value, list)) == {"since": found}


def test_null_among_times_is_none_which_mlflow_takes() -> None:
    assert conformed([None, TIME], is_list=True) == {"since": [None, MOMENT]}


@pytest.mark.parametrize(
    ("value", "places"),
    [(FINE, ["params.since"]), ([TIME, FINE, FINE], ["params.since[1]", "params.since[2]"])],
)
def test_time_that_would_lose_digits_is_refused_with_its_place(value: Any, places: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        conformed(value, is_list=isinstance(value, list))

    assert [fault["path"] for fault in caught.value.details] == places
    assert "more than six digits of a second" in caught.value.message
