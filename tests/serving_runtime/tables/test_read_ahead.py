"""The next chunk is made while the one before is predicted, and no more than that."""

import threading
from collections.abc import Iterator

import pytest

from serving_runtime.tables.read_ahead import ReadAhead, read_ahead
from testbed.processes import PATIENCE


@pytest.mark.parametrize("depth", [1, 3])
def test_items_are_made_in_advance_up_to_the_depth(depth: int) -> None:
    """One more than waits is in the hands of the thread, and one in those of the caller."""
    made: list[int] = []
    ahead, too_far = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        for number in range(depth + 3):
            made.append(number)
            if number == depth + 1:
                ahead.set()
            if number == depth + 2:
                too_far.set()
            yield number

    with ReadAhead(items(), depth) as taken:
        first = next(taken)
        assert ahead.wait(PATIENCE)
        assert not too_far.wait(0.5)
        rest = list(taken)

    assert [first, *rest] == made == list(range(depth + 3))


def test_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("the second")

    taken = read_ahead(items())

    assert next(taken) == 1
    with pytest.raises(LookupError, match="the second"):
        next(taken)


def test_thread_ends_if_the_items_are_not_wanted_any_more() -> None:
    ended = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    with pytest.raises(LookupError), ReadAhead(items()) as taken:
        next(taken)
        raise LookupError

    assert ended.wait(PATIENCE)
