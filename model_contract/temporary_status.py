"""Statuses of HTTP answers after which the same request may succeed."""

from http import HTTPStatus
from typing import Final

BEFORE_WORK: Final = {HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}  # the server has not begun with the request
TEMPORARY: Final = {HTTPStatus.REQUEST_TIMEOUT, *BEFORE_WORK}


def is_temporary(status: int) -> bool:
    """Return True for 408, 425, 429 and the 5xx but 501, which says that the server never does this."""
    return status in TEMPORARY or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED)


def leaves_open(status: int) -> bool:
    """Return True if a change may have been made although the answer is unsuccessful."""
    return is_temporary(status) and status not in BEFORE_WORK
