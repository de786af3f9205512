"""Errors of an object store, from those of obstore.

The texts of obstore hold URLs, and those may hold a signature: only a status, a code and a kind of error are taken from
them.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from model_contract.exit_codes import ExitCode
from model_contract.names import OBJECT_STORE_CREDENTIALS
from model_contract.temporary_status import is_temporary
from model_delivery.errors import (
    ChangedError,
    DeliveryError,
    InvalidInputError,
    NotAuthorisedError,
    NotFoundError,
    TransientError,
)

STATUS: Final = re.compile(r"\bstatus(?: code)?: ([1-5][0-9]{2})\b")
CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
KIND: Final = re.compile(r"\bkind: (Connect|Timeout|Request|Decode|Interrupted)\b")
KINDS: Final = {
    "Connect": "no connection to the object store came about; check its endpoint, and the network policies of the pod",
    "Timeout": "the object store sent nothing in time",
}
ODD_RANGE: Final = ("Received non-partial response", "Content-Range", "Requested ")
OTHER_REGION: Final = "set AWS_REGION to the region of the bucket"
NO_LISTING: Final = (
    "the answer is no listing; check that the endpoint is the object store's own, not its console's and not a login"
    " page"
)
# Texts of obstore without a status, which another try would not change.
UNUSABLE: Final = {
    "redirect without LOCATION": f"the bucket lies in another region: {OTHER_REGION}",
    "following redirect": "the object store redirects without an end; check its endpoint",
    "invalid list response": NO_LISTING,
    "Content-Length Header missing": "the answer has no length, as if a proxy compressed it; check the proxies before"
    " the object store",
}
TOKEN_FILES: Final = ("Failed to read token file", "Failed to read EKS token file", "reading federated token file")
MAY_READ: Final = "check that the credentials may list and read this place"
# Advice for a code that is more exact than the status.
ADVICE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"), OTHER_REGION
    ),
    **dict.fromkeys(
        ("RequestTimeTooSkewed", "RequestExpired"),
        "the clocks of the store and of this machine differ by more than it allows; set that of the node",
    ),
    **dict.fromkeys(
        ("InvalidObjectState", "BlobArchived"), "the file is archived; restore it, or register the model again"
    ),
}
# The same for texts of an answer whose code says less.
TEXT_ADVICE: Final = {
    "Request date header too old": ADVICE["RequestTimeTooSkewed"],
    "kms:Decrypt": "let the credentials use the key of KMS with which the file is encrypted",
    "form of Server Side Encryption": "the file is encrypted with a key of its own; set"
    " AWS_SERVER_SIDE_ENCRYPTION=sse-c and AWS_SSE_CUSTOMER_KEY_BASE64",
}
TEMPORARY_CODES: Final = {"ExpiredToken", "RequestTimeout", "SlowDown"}
FILES_GONE: Final = "check that the files were not deleted"
NO_BUCKET: Final = "check the bucket in the version's source, and the endpoint and the user of the credentials"
NUMBERS: Final[Mapping[type[Exception], int]] = {
    FileNotFoundError: HTTPStatus.NOT_FOUND,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
}
# Requests for a token: a file is asked for by GET, and not at the address of a machine's own identity.
OWN_IDENTITY: Final = re.compile(r"Error performing (?:PUT|GET https?://(?:169\.254\.|metadata\.google))")
TOKEN_REQUEST: Final = re.compile(r"Error performing (?:token request|POST)\b")
TOKEN_CODE: Final = re.compile(r"\b(AADSTS[0-9]{4,8}|(?:invalid|unauthorized)_[a-z]{1,20})\b")
NO_IDENTITY: Final = (
    f"there are no credentials for the object store: {OBJECT_STORE_CREDENTIALS} names none, and the pod has no identity"
    " that the store's provider knows"
)


@contextmanager
def store_errors(what: str, *, gone: str = FILES_GONE) -> Iterator[None]:
    """Raise a DeliveryError for an error of obstore in the block, without its text. `gone` is the advice for a 404."""
    try:
        yield
    except (BaseError, FileNotFoundError, ValueError, OSError) as error:
        raise _error(what, error, gone) from None
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise DeliveryError(
            f"{what}: obstore failed; report it with the versions of obstore and of the store"
        ) from None


def is_odd_range(text: str) -> bool:
    """Return True for the error of obstore if a store answers with something else than the range."""
    status = STATUS.search(text)
    return any(part in text for part in ODD_RANGE) or bool(
        status and int(status[1]) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    )


def _error(what: str, error: Exception, gone: str) -> DeliveryError:
    text = str(error)
    status, code, kind = STATUS.search(text), CODE.search(text), KIND.search(text)
    if isinstance(error, PreconditionError):
        return ChangedError(f"{what}: it was changed after it was listed; fetch the model again")
    if isinstance(error, InvalidPathError):
        return InvalidInputError(f"{what}: the object store lists a name that is refused as a file name")
    number = NUMBERS.get(type(error), int(status[1]) if status else 0)
    if OWN_IDENTITY.search(text) or TOKEN_REQUEST.search(text):
        return _no_token(what, text, number)
    said = f"the object store answers {number}" + (f" {code[1]}" if code else "")
    advice = ADVICE.get(code[1] if code else "") or next(
        (advice for part, advice in TEXT_ADVICE.items() if part in text), ""
    )
    if number in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return NotAuthorisedError(f"{what}: {said}; {advice or MAY_READ}")
    if number == HTTPStatus.NOT_FOUND:
        return NotFoundError(f"{what}: {said}; {gone}")
    if is_temporary(number) or (code and code[1] in TEMPORARY_CODES):
        return TransientError(f"{what}: {said}")
    if number:
        return InvalidInputError(f"{what}: {said}" + (f"; {advice}" if advice else ""))
    if any(part in text for part in TOKEN_FILES):
        return InvalidInputError(f"{what}: the file with the token of the pod's identity cannot be read")
    if unusable := next((said for part, said in UNUSABLE.items() if part in text), None):
        return InvalidInputError(f"{what}: {unusable}")
    return TransientError(f"{what}: {KINDS.get(kind[1] if kind else '', 'the connection to the object store broke')}")


def _no_token(what: str, text: str, number: int) -> DeliveryError:
    """Return the error if no token came: from the provider for the credentials, or from the machine for the pod.

    `number` is the status of the answer, 0 without one.
    """
    code = CODE.search(text) or TOKEN_CODE.search(text)
    said = f"the answer is {number}" + (f" {code[1]}" if code else "")
    temporary = not number or is_temporary(number)
    if OWN_IDENTITY.search(text):
        message = f"{what}: {NO_IDENTITY}" + (f"; {said}" if number else "")
        if temporary:
            return TransientError(message, exit_code=ExitCode.NOT_AUTHORISED)
        return NotAuthorisedError(message)
    if temporary:
        fault = said if number else "it cannot be reached; check the network policies of the pod"
        return TransientError(
            f"{what}: no token for the object store comes from the provider's service for it: {fault}"
        )
    return NotAuthorisedError(
        f"{what}: the provider's service gives no token to the credentials for the object store, or to the identity of"
        f" the pod: {said}; check the role or the account, and who may take it"
    )
