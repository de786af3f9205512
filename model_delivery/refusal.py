"""What an answer without success means for the run: another try, or which error."""

import json
from email.message import Message
from http import HTTPStatus

from model_contract.names import TOKEN_FILE, TRACKING_URI
from model_contract.secret import Secret
from model_delivery.errors import DeliveryError, InternalServerError, InvalidInputError, NotAuthorisedError, NotFoundError, TransientError

# What `mlflow server` answers since 3.5 to a name that is not in its --allowed-hosts; it means the server, not the caller.
INVALID_HOST = b"Invalid Host header"
SHOWN = 200  # characters of MLflow's message; the rest of a body is never shown: it may be a page with anything in it


def refusal(what: str, status: int, headers: Message, body: bytes, *, token: Secret | None) -> DeliveryError:
    """The error for an answer with `status` to the request `what`."""
    said = f"{what}: MLflow answers {status}{_reason(body, token)}"
    if status == HTTPStatus.FORBIDDEN and body.startswith(INVALID_HOST):
        return InvalidInputError(f"{said}: it does not serve the host of {TRACKING_URI}; name it in `mlflow server --allowed-hosts`")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        hint = "the token is not accepted for this" if token else f"no token was sent, because {TOKEN_FILE} is not set"
        return NotAuthorisedError(f"{said}; {hint}")
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(said)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return InternalServerError(said)
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status > HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(said, retry_after=_seconds(headers.get("Retry-After")))
    if status in range(300, 400):
        return InvalidInputError(
            f"{said}, a redirect, which is not followed with a token; set {TRACKING_URI} to where MLflow itself answers"
        )
    return InvalidInputError(said)


def _reason(body: bytes, token: Secret | None) -> str:
    """MLflow's error code and the beginning of its message, on one line; nothing where the body is not MLflow's."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    parts = [str(answer[key]) for key in ("error_code", "message") if isinstance(answer.get(key), str | int) and answer[key] != ""]
    return " " + _shown(": ".join(parts), token) if parts else ""


def _shown(text: str, token: Secret | None) -> str:
    hidden = text.replace(token.reveal(), "***") if token else text
    printable = "".join(character if character.isprintable() else " " for character in hidden)
    return printable[:SHOWN] + ("..." if len(printable) > SHOWN else "")


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isascii() and value.isdigit() else None
