"""`certs`: how it is with the certificates, and the beginning of a rotation, which the webhook's pods then carry
through.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from webhook.certificates.cluster import ConflictError, Objects
from webhook.certificates.issuance import is_issued_by
from webhook.certificates.state import SETTLING, State, begin_rotation, read, write

TRIES: Final = 5
PATIENCE: Final = 300.0  # seconds; a rotation of the authority takes little more than a minute


class RotationError(Exception):
    """It could not be begun, or did not come to its end in time."""


def status(objects: Objects) -> Iterator[tuple[str, str]]:
    """Rows of what is there. Raises MissingError, httpx2.HTTPError."""
    state, trusted = read(objects.secret().data), objects.registration().trusted
    now = datetime.now(UTC)
    for title, pair in (
        ("authority", state.authority),
        ("next authority", state.following),
        ("certificate", state.leaf),
    ):
        if pair:
            until = pair.certificate.not_valid_after_utc
            yield title, f"{pair.certificate.serial_number:x}, until {until:%Y-%m-%d} ({(until - now).days} days)"
    if state.former and state.former_until:
        yield "former authority", f"{state.former.serial_number:x}, trusted until {state.former_until:%Y-%m-%d}"
    if state.following and state.trusted_since:
        yield "next step", f"the next authority signs from {state.trusted_since + SETTLING:%H:%M:%S} on"
    known = state.leaf is not None and any(is_issued_by(state.leaf.certificate, authority) for authority in trusted)
    yield "API server", "trusts the certificate" if known else "does not trust the certificate"


def rotate(objects: Objects, *, authority: bool, said: Callable[[str], None]) -> None:
    """Returns when the new certificate is in the Secret, of a new authority where that is asked for. Raises
    RotationError as well.
    """
    before = begin(objects, authority=authority)
    said(
        "the new authority is made known; it signs when the API server has trusted it for a minute"
        if authority
        else "asked for a new certificate"
    )
    deadline = time.monotonic() + PATIENCE
    while not _done(read(objects.secret().data), before, authority=authority):
        if time.monotonic() > deadline:
            raise RotationError(f"not done within {PATIENCE:.0f} s; see the log of the webhook's pods, who do it")
        time.sleep(1)
    said(
        "the webhook has its new certificate; the former authority stays trusted until its last certificate has ended"
        if authority
        else "done"
    )


def begin(objects: Objects, *, authority: bool) -> State:
    """The state before."""
    for _ in range(TRIES):
        stored = objects.secret()
        before = read(stored.data)
        if before.authority is None:
            raise RotationError("the Secret holds no authority of ours; is the certificate kept by cert-manager?")
        data = write(begin_rotation(before, datetime.now(UTC))) if authority else {"tls.crt": None, "tls.key": None}
        try:
            objects.write_secret(data, stored.version)
        except ConflictError:
            continue
        return before
    raise RotationError("the Secret changes all the time; try again")


def _done(state: State, before: State, *, authority: bool) -> bool:
    renewed = state.leaf is not None and state.leaf != before.leaf
    return renewed and (state.authority != before.authority or not authority)
