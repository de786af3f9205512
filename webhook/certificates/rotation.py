"""The status of the certificates, and the start of a rotation, which the webhook's pods then carry out."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from webhook.certificates.cluster import ClusterObjects, ConflictError
from webhook.certificates.issuance import is_issued_by
from webhook.certificates.state import TRUST_DELAY, SecretState, begin_rotation, read_state, write_state

ATTEMPTS: Final = 5
ROTATION_TIMEOUT: Final = 300.0  # seconds; a rotation of the authority takes little more than a minute


class RotationError(Exception):
    """The rotation could not start, or did not finish in time."""


def status(objects: ClusterObjects) -> Iterator[tuple[str, str]]:
    """Yield a title and a text for each certificate. Raises MissingError, httpx2.HTTPError."""
    state, trusted = read_state(objects.secret().data), objects.registration().trusted
    now = datetime.now(UTC)
    for title, pair in (
        ("authority", state.authority),
        ("next authority", state.next_authority),
        ("certificate", state.leaf),
    ):
        if pair:
            until = pair.certificate.not_valid_after_utc
            yield title, f"{pair.certificate.serial_number:x}, until {until:%Y-%m-%d} ({(until - now).days} days)"
    if state.former_authority and state.former_until:
        yield (
            "former authority",
            f"{state.former_authority.serial_number:x}, trusted until {state.former_until:%Y-%m-%d}",
        )
    if state.next_authority and state.trusted_since:
        yield "next step", f"the next authority signs from {state.trusted_since + TRUST_DELAY:%H:%M:%S} on"
    known = state.leaf is not None and any(is_issued_by(state.leaf.certificate, authority) for authority in trusted)
    yield "API server", "trusts the certificate" if known else "does not trust the certificate"


def rotate(objects: ClusterObjects, *, authority: bool, report: Callable[[str], None]) -> None:
    """Start a rotation, and return when the new certificate is in the Secret.

    With `authority`, a new authority signs it. Raises RotationError, MissingError, httpx2.HTTPError.
    """
    before = start_rotation(objects, authority=authority)
    report(
        "the new authority is made known; it signs when the API server has trusted it for a minute"
        if authority
        else "asked for a new certificate"
    )
    deadline = time.monotonic() + ROTATION_TIMEOUT
    while not _done(read_state(objects.secret().data), before, authority=authority):
        if time.monotonic() > deadline:
            raise RotationError(
                f"not done within {ROTATION_TIMEOUT:.0f} s; see the log of the webhook's pods, which do it"
            )
        time.sleep(1)
    report(
        "the webhook has its new certificate; the former authority stays trusted until its last certificate has ended"
        if authority
        else "done"
    )


def start_rotation(objects: ClusterObjects, *, authority: bool) -> SecretState:
    """Write the start of a rotation to the Secret; return the state before it. Raises RotationError."""
    for _ in range(ATTEMPTS):
        stored = objects.secret()
        before = read_state(stored.data)
        if before.authority is None:
            raise RotationError(
                "the Secret holds no authority of this webhook; is the certificate kept by cert-manager?"
            )
        data = (
            write_state(begin_rotation(before, datetime.now(UTC))) if authority else {"tls.crt": None, "tls.key": None}
        )
        try:
            objects.write_secret(data, stored.version)
        except ConflictError:
            continue
        return before
    raise RotationError("the Secret keeps changing; try again")


def _done(state: SecretState, before: SecretState, *, authority: bool) -> bool:
    renewed = state.leaf is not None and state.leaf != before.leaf
    return renewed and (state.authority != before.authority or not authority)
