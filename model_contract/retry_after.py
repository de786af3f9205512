"""The header `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in one of the three forms of 5.6.7."""

import math
import re
from datetime import UTC, datetime
from typing import Final

SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)  # RFC 9110 has no fractions; servers send them
MAX_SECONDS: Final = 10.0**9  # seconds, 32 years: a number of any length stays one that can be compared and waited for
FORMATS: Final = (
    "%a, %d %b %Y %H:%M:%S GMT",  # Sun, 06 Nov 1994 08:49:37 GMT
    "%A, %d-%b-%y %H:%M:%S GMT",  # Sunday, 06-Nov-94 08:49:37 GMT
    "%a %b %d %H:%M:%S %Y",  # Sun Nov  6 08:49:37 1994
)
TWO_DIGIT_YEAR: Final = FORMATS[1]
CENTURY: Final = 100
MAX_YEARS_AHEAD: Final = 50  # years: a year of two digits that seems further ahead is in the past (RFC 9110, 5.6.7)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds to wait, rounded up to whole ones and never negative; None if `value` is missing or malformed.

    `now` is an aware time, by default the clock's.
    """
    if value is None:
        return None
    text = value.strip(" \t")
    if SECONDS.fullmatch(text):
        return min(float(math.ceil(min(float(text), MAX_SECONDS))), MAX_SECONDS)
    now = now or datetime.now(UTC)
    date = _date(text, now)
    return None if date is None else max(0.0, float(math.ceil((date - now).total_seconds())))


def _date(text: str, now: datetime) -> datetime | None:
    for form in FORMATS:
        try:
            date = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return _in_this_century(date, now) if form == TWO_DIGIT_YEAR else date
    return None


def _in_this_century(date: datetime, now: datetime) -> datetime | None:
    ahead = (date.year - now.year) % CENTURY
    year = now.year + (ahead if ahead <= MAX_YEARS_AHEAD else ahead - CENTURY)
    try:
        return date.replace(year=year)
    except ValueError:  # 29 February of another year
        return None
