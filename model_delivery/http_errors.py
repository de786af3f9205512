"""Errors of HTTP: of the network, and of an unsuccessful answer."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http import HTTPStatus

from model_contract.answer_causes import Answer, answer_cause
from model_contract.names import TOKEN_FILE
from model_contract.network_causes import Peer, cause_of, probed
from model_contract.retry_after import retry_after
from model_contract.tracking_credentials import Credential
from model_delivery.errors import DeliveryError, InternalServerError, PresignedOnlyError, error_of


@contextmanager
def network_errors(what: str, peer: Peer, *, connecting: bool = False, unanswered: bool = False) -> Iterator[None]:
    """Raise a DeliveryError for an error of sockets, TLS or HTTP in the block.

    `unanswered`: no byte has come from the server yet, so that a probe may find the reason.
    """
    try:
        yield
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        cause = cause_of(error, peer, connecting=connecting)
        raise error_of(what, probed(cause, peer) if unanswered else cause) from error


def answer_error(  # noqa: PLR0913  an answer, its request and both sides
    what: str, status: int, headers: Message, body: bytes, *, peer: Peer, credential: Credential | None
) -> DeliveryError:
    """Return the error for an answer with `status` to the request `what`."""
    answer = Answer(status=status, headers=headers, body=body, redacted=credential.redacted if credential else str)
    cause = answer_cause(
        answer, peer, credential=credential.title if credential else None, hint=f"{TOKEN_FILE} is not set"
    )
    if answer.is_presigned_only:
        return PresignedOnlyError(f"{what}: {cause.sentence}")
    wait = retry_after(headers.get("Retry-After"))
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and cause.temporary:
        return InternalServerError(f"{what}: {cause.sentence}", retry_after=wait)
    return error_of(what, cause, retry_after=wait)
