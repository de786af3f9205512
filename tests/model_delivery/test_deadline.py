import pytest

from model_delivery.deadline import Deadline, Limits, StoppedError
from model_delivery.errors import TransientError, UnavailableError


@pytest.mark.parametrize(
    ("attempt", "least", "most"), [(1, 1, 2), (2, 1, 4), (3, 1, 8), (4, 1, 16), (5, 1, 20), (400, 1, 20)], ids=str
)
def test_waits_grow_and_are_spread_between_one_and_twenty_seconds(attempt: int, least: float, most: float) -> None:
    limits = Limits()

    assert limits.wait_after(attempt, asked=None, chance=0) == least
    assert limits.wait_after(attempt, asked=None, chance=1) == most


def test_a_server_that_asks_for_more_time_gets_it() -> None:
    assert Limits().wait_after(1, asked=90, chance=1) == 90


def test_a_server_that_asks_for_more_time_than_allowed_is_given_up_at_once() -> None:
    def fail() -> None:
        raise TransientError("not yet", retry_after=6)

    with pytest.raises(UnavailableError, match="wait 6 s, longer than --longest-retry-after 5"):
        Deadline(Limits(longest_wait=1, longest_retry_after=5)).retrying(fail)


def test_a_call_is_tried_as_often_as_the_limits_say() -> None:
    tried = []

    def fail() -> None:
        tried.append(1)
        raise TransientError("not yet")

    with pytest.raises(TransientError, match="not yet"):
        Deadline(Limits(tries=4, first_wait=0.001, longest_wait=0.001)).retrying(fail)

    assert len(tried) == 4


def test_an_error_that_is_final_is_not_tried_again() -> None:
    tried = []

    def fail() -> None:
        tried.append(1)
        raise UnavailableError("no")

    with pytest.raises(UnavailableError, match="no"):
        Deadline(Limits()).retrying(fail)

    assert len(tried) == 1


def test_a_run_that_was_stopped_waits_no_more() -> None:
    deadline = Deadline(Limits())
    deadline.stop()

    with pytest.raises(StoppedError):
        deadline.pause(600)
