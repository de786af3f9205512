"""An answer without success, as the error that it means for the run."""

from email.message import Message
from http import HTTPStatus

from model_contract.answer_causes import Answer, answer_cause
from model_contract.names import TOKEN_FILE
from model_contract.network_causes import Peer
from model_contract.retry_after import retry_after
from model_contract.tracking_credentials import Credential
from model_delivery.errors import DeliveryError, InternalServerError, error_of


def refusal(  # noqa: PLR0913  an answer, and who asked whom
    what: str, status: int, headers: Message, body: bytes, *, peer: Peer, credential: Credential | None
) -> DeliveryError:
    """Return the error for an answer with `status` to the request `what`."""
    answer = Answer(status=status, headers=headers, body=body, redacted=credential.redacted if credential else str)
    cause = answer_cause(
        answer, peer, credential=credential.title if credential else None, hint=f"{TOKEN_FILE} is not set"
    )
    asked = retry_after(headers.get("Retry-After"))
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and cause.passes:
        return InternalServerError(f"{what}: {cause.sentence}", retry_after=asked)
    return error_of(what, cause, retry_after=asked)
