"""Python's reader of CSV, with fields as long as documents are."""

import csv
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _csv import Reader

# Letters of a field. Python's own limit of 131,072 is less than a long document, and without one, a quote that is never
# closed would take a whole file into memory.
LONGEST_FIELD: Final = 16 << 20
CARRIAGE_RETURNS: Final = (
    'a line ends with a carriage return alone; save it with line feeds, as "CSV UTF-8" of Excel has them'
)


def csv_reader(lines: Iterable[str], *, strict: bool = False) -> "Reader":
    csv.field_size_limit(max(LONGEST_FIELD, csv.field_size_limit()))  # of the process: a model may have set more
    return csv.reader(lines, strict=strict)


def is_too_long(error: csv.Error) -> bool:
    """Return True for a field beyond the limit, which begins some lines before the one that the reader has come to."""
    return str(error).startswith("field larger than field limit")


def csv_problem(error: csv.Error) -> str:
    """Return the message of the csv module, or own words for one whose advice is for programmers."""
    message = str(error)
    if message.startswith("new-line character seen in unquoted field"):
        return CARRIAGE_RETURNS
    if is_too_long(error):
        return f"a field has more than {csv.field_size_limit():,} letters; is a quote missing?"
    return message
