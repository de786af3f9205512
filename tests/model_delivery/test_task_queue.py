"""The order of a transfer's tasks, and of the ranges of a large file whose digest takes longer than its transfer."""

import threading
from itertools import islice
from pathlib import Path

import pytest

from model_delivery.listed_model import ListedFile
from model_delivery.ranges import AHEAD, RANGE, RangedFile
from model_delivery.task_queue import TaskQueue
from testbed.processes import PATIENCE

BEHIND = 4  # ranges beyond those that may wait


def test_tasks_that_are_not_ready_let_others_come_first() -> None:
    begun: list[str] = []
    ready, passed = threading.Event(), threading.Event()

    def first() -> None:
        tasks.add([lambda: begun.append("later")], ready.is_set)
        assert passed.wait(PATIENCE)
        ready.set()
        tasks.recheck()

    def other() -> None:
        begun.append("other")
        passed.set()

    tasks = TaskQueue([first, other])
    tasks.run(threads=2, stop=lambda: None)

    assert begun == ["other", "later"]


def test_the_first_error_ends_a_run_whose_other_tasks_are_not_ready() -> None:
    def fails() -> None:
        tasks.add([lambda: begun.append("never")], lambda: False)
        raise OSError("the disk failed")

    begun: list[str] = []
    stopped = threading.Event()
    tasks = TaskQueue([fails])
    with pytest.raises(OSError, match="the disk failed"):
        tasks.run(threads=2, stop=stopped.set)

    assert stopped.is_set()
    assert begun == []


def test_no_more_ranges_are_requested_while_the_digest_is_behind(tmp_path: Path) -> None:
    count = AHEAD // RANGE + BEHIND
    ranged = sparse(tmp_path, count, received=0)
    seen: list[bool] = []
    head, *others = islice(ranged.parts(), count)
    for part in others:
        ranged.add_received(part, lambda: None)
    waiting_for_the_first = ranged.ready()
    ranged.add_received(head, lambda: seen.append(ranged.ready()))

    assert waiting_for_the_first
    assert seen == [False] * BEHIND + [True] * (count - BEHIND)


def test_ranges_of_an_earlier_run_do_not_hold_back_those_that_are_missing(tmp_path: Path) -> None:
    count = AHEAD // RANGE + BEHIND
    ranged = sparse(tmp_path, count, received=count - 1)
    seen = [ranged.ready()]
    (last,) = ranged.parts()
    ranged.add_received(last, lambda: seen.append(ranged.ready()))

    assert seen == [True] * (count + 1)


def sparse(directory: Path, count: int, *, received: int) -> RangedFile:
    """Return a file of `count` ranges, of which the first `received` have come in an earlier run."""
    target = directory / "weights.bin"
    with target.open("wb") as output:
        output.truncate(count * RANGE)
    file = ListedFile(path=target.name, size=count * RANGE)
    return RangedFile(file, target, '"tag"', {number * RANGE: RANGE for number in range(received)})
