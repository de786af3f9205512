"""The rows of a batch that cannot be scored, found by halving the batch, and the words for their faults."""

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from serving_runtime.errors import InvalidInputError, ServingError

Result = TypeVar("Result")

# The part of a fault's path up to the row; the rest is the place within the row.
ROW: Final = re.compile(
    r"^(?:(?:csv|table|dataframe_records|dataframe_split\.data)\[\d+\]|(?:inputs|instances)(?:\[\d+\])?)\.?"
)
COLUMN: Final = re.compile(r'^\["(.*?)"\]')


def in_halves(
    predict: Callable[[int, int], Result], first: int, end: int, is_of_a_row: Callable[[ServingError], bool]
) -> Iterator[tuple[int, Result | ServingError]]:
    """Yield the results of `predict` for runs of the rows from `first` to before `end`, each with its first row.

    A run that fails is halved until single rows fail. Raises ServingError if a fault is not `is_of_a_row`.
    """
    try:
        result: Result | ServingError = predict(first, end)
    except ServingError as error:
        if not is_of_a_row(error):
            raise
        if end - first > 1:
            middle = (first + end) // 2
            yield from in_halves(predict, first, middle, is_of_a_row)
            yield from in_halves(predict, middle, end, is_of_a_row)
            return
        result = error
    yield first, result


def is_of_all_rows(error: ServingError) -> bool:
    """Return True for a fault such as a missing column; that of a cell or a tensor has more than the table's path."""
    return isinstance(error, InvalidInputError) and not any(
        mark in fault.path for fault in error.faults for mark in "[."
    )


def problem_of_row(error: ServingError) -> str:
    """Return the fault of a single row in words, with its place within the row."""
    if not isinstance(error, InvalidInputError):
        return str(error)
    places = ((COLUMN.sub(r'"\1"', ROW.sub("", fault.path)), fault.problem) for fault in error.faults)
    return "; ".join(f"{place}: {problem}" if place else problem for place, problem in places)
