"""The state of the certificates in the Secret, and the next step towards the wanted state.

`advance` is pure: every pod of the webhook computes the same step from the same Secret, the first one to write it wins,
and a pod that is interrupted leaves a Secret from which the next pod goes on. So the pods need no leader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from webhook.certificates.issuance import KeyPair, host_names_of, is_issued_by, new_authority, new_leaf, read_pair

# An API server sees a change of the registration within a second; a minute leaves time for a late one.
TRUST_DELAY: Final = timedelta(seconds=60)
# Renewed when this much of its life is left: a webhook that is away for a month comes back with a valid certificate.
LEFT_AT_RENEWAL: Final = 1 / 3

LEAF: Final = ("tls.crt", "tls.key")  # as in Secrets of type kubernetes.io/tls
AUTHORITY: Final = ("ca.crt", "ca.key")
NEXT: Final = ("next-ca.crt", "next-ca.key")
FORMER: Final = "former-ca.crt"
TRUSTED_SINCE: Final = "next-ca-trusted-since"
FORMER_UNTIL: Final = "former-ca-until"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretState:
    """The content of the Secret.

    `next_authority` takes over as soon as it is trusted. `former_authority` stays trusted until the last leaf that it
    signed ends.
    """

    authority: KeyPair | None = None
    leaf: KeyPair | None = None
    next_authority: KeyPair | None = None
    trusted_since: datetime | None = None
    former_authority: x509.Certificate | None = None
    former_until: datetime | None = None

    @property
    def trusted(self) -> list[x509.Certificate]:
        """Every authority that the API server must trust; the one that signs comes first."""
        pairs = [pair.certificate for pair in (self.authority, self.next_authority) if pair]
        return [*pairs, *([self.former_authority] if self.former_authority else [])]

    @property
    def bundle(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.trusted)


def read_state(data: Mapping[str, bytes]) -> SecretState:
    """Return the usable parts of the Secret; an unusable part counts as absent and is made again."""
    authority, next_authority = _pair(data, AUTHORITY), _pair(data, NEXT)
    former_authority = _certificate(data.get(FORMER, b""))
    return SecretState(
        authority=authority,
        leaf=_pair(data, LEAF),
        next_authority=next_authority,
        trusted_since=_time(data.get(TRUSTED_SINCE, b"")) if next_authority else None,
        former_authority=former_authority,
        former_until=_time(data.get(FORMER_UNTIL, b"")) if former_authority else None,
    )


def write_state(state: SecretState) -> dict[str, bytes | None]:
    """Return the keys of the Secret; None stands for a key to remove."""
    data: dict[str, bytes | None] = {}
    for names, pair in ((AUTHORITY, state.authority), (LEAF, state.leaf), (NEXT, state.next_authority)):
        data |= dict(zip(names, (pair.certificate_pem, pair.key_pem) if pair else (None, None), strict=True))
    for name, moment in ((TRUSTED_SINCE, state.trusted_since), (FORMER_UNTIL, state.former_until)):
        data[name] = moment.isoformat().encode() if moment else None
    return data | {FORMER: state.former_authority.public_bytes(Encoding.PEM) if state.former_authority else None}


def advance(
    state: SecretState,
    *,
    host_names: Sequence[str],
    registered: Sequence[x509.Certificate],
    now: datetime,
    early: float = 0,
) -> SecretState:
    """Return the next state, or `state` itself if nothing is to be done. Call it until it returns the same state.

    `registered` are the authorities that every entry of the registration trusts. `early`, from 0 to 1, moves the
    renewal of a leaf by up to a tenth of its life, so that pods do not all try at the same moment.
    """
    authority, next_authority, leaf = state.authority, state.next_authority, state.leaf
    if authority is None or authority.certificate.not_valid_after_utc <= now:
        if next_authority:  # it never signed, but the API server may trust it already
            return replace(state, authority=next_authority, next_authority=None, trusted_since=None)
        first = new_authority(now)  # with a leaf at once: a Secret of type kubernetes.io/tls may not be without one
        return SecretState(authority=first, leaf=new_leaf(first, host_names, now))
    if next_authority is None and _is_old(authority.certificate, now):
        return replace(state, next_authority=new_authority(now))
    if next_authority and state.trusted_since is None and next_authority.certificate in registered:
        return replace(state, trusted_since=now)
    if next_authority and state.trusted_since and now - state.trusted_since >= TRUST_DELAY:
        until = leaf.certificate.not_valid_after_utc if leaf else now
        renewed = new_leaf(next_authority, host_names, now)
        return SecretState(
            authority=next_authority, leaf=renewed, former_authority=authority.certificate, former_until=until
        )
    if state.former_authority and (state.former_until is None or state.former_until <= now):
        return replace(state, former_authority=None, former_until=None)
    if not leaf or not is_valid_leaf(leaf, authority, host_names) or _is_old(leaf.certificate, now, early=early / 10):
        return replace(state, leaf=new_leaf(authority, host_names, now))
    return state


def begin_rotation(state: SecretState, now: datetime) -> SecretState:
    """Return the state with a next authority; `state` itself if it has one already."""
    return state if state.next_authority else replace(state, next_authority=new_authority(now), trusted_since=None)


def is_valid_leaf(leaf: KeyPair, authority: KeyPair, host_names: Sequence[str]) -> bool:
    return is_issued_by(leaf.certificate, authority.certificate) and host_names_of(leaf.certificate) == frozenset(
        host_names
    )


def _is_old(certificate: x509.Certificate, now: datetime, *, early: float = 0) -> bool:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now <= life * (LEFT_AT_RENEWAL + early)


def _pair(data: Mapping[str, bytes], names: tuple[str, str]) -> KeyPair | None:
    certificate, key = (data.get(name, b"") for name in names)
    try:
        return read_pair(certificate, key) if certificate and key else None
    except ValueError:
        return None


def _certificate(pem: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem) if pem else None
    except ValueError:
        return None


def _time(text: bytes) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return moment if moment.tzinfo else None
