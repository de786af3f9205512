import pytest

from model_contract.temporary_status import is_temporary, leaves_open

STATUSES = {
    200: (False, False),
    400: (False, False),
    404: (False, False),
    408: (True, True),
    425: (True, False),
    429: (True, False),
    500: (True, True),
    501: (False, False),
    503: (True, True),
    504: (True, True),
    520: (True, True),  # Cloudflare's: the server behind it answered wrongly
}


@pytest.mark.parametrize("status", STATUSES)
def test_status_says_if_a_request_may_succeed_later_and_if_a_change_may_have_been_made(status: int) -> None:
    assert (is_temporary(status), leaves_open(status)) == STATUSES[status]
