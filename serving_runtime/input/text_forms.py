"""Texts that stand for times and for bytes, in the forms that clients and databases write."""

import base64
import re
from typing import Final

import numpy as np
import pandas as pd

# RFC 3339, four more forms of ISO 8601 (a date alone, no seconds, no offset, and an offset of hours, as PostgreSQL has
# it), an offset after a space, as Snowflake and SQL Server have it, and " UTC", as BigQuery has it. pandas counts
# nanoseconds, so a tenth digit of a second would be cut.
TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?(?:[Zz]|UTC|[+-]\d{2}(?::?\d{2})?))?)?",
    re.ASCII,
)
DATE: Final = 11  # letters of a date, with the one after it
NAT: Final = "NaT"  # the text of a missing time by numpy and pandas, which MLflow's client sends


def parsed_bytes(text: str | bytes) -> bytes:
    """Return the bytes of base64 with padding, in one line or in several. Raises ValueError."""
    if isinstance(text, bytes):  # from a protocol that sends bytes as they are
        return text
    coded = text.replace("\r\n", "\n").replace("\n", "").encode("ascii")  # MLflow writes lines of 76 letters
    content = base64.b64decode(coded, validate=True)
    if base64.b64encode(content) != coded:  # the decoder has dropped bits or padding
        raise ValueError
    return content


def parsed_time(text: str) -> np.datetime64 | None:
    """Return a time in UTC, in nanoseconds; None for a missing one. Raises ValueError."""
    if text == NAT:
        return None
    if not TIME.fullmatch(text):
        raise ValueError
    letters = text.upper()  # of small letters, and of UTC, pandas drops nanoseconds
    moment = pd.Timestamp(letters[:DATE] + letters[DATE:].replace(" ", "").replace("UTC", "Z"))
    if moment.tzinfo is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    return moment.as_unit("ns").to_datetime64()
