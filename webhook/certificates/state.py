"""What the Secret holds, and the one step that brings it nearer to what it should be.

`advance` is pure: every pod of the webhook makes the same step from the same Secret, the first one to write it wins,
and whoever is interrupted leaves a Secret from which the next one goes on. That is why nobody needs to be a leader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from webhook.certificates.issuance import Pair, is_issued_by, names_of, new_authority, new_leaf, read_pair

# An API server that has its own copy of the registration learns of a change within a second; a minute is for one that
# is late.
SETTLING: Final = timedelta(seconds=60)
# Renewed when this much of its life is left: a webhook that is away for a month comes back with a valid certificate.
LEFT_AT_RENEWAL: Final = 1 / 3

LEAF: Final = ("tls.crt", "tls.key")  # as in Secrets of type kubernetes.io/tls
AUTHORITY: Final = ("ca.crt", "ca.key")
NEXT: Final = ("next-ca.crt", "next-ca.key")
FORMER: Final = "former-ca.crt"
TRUSTED_SINCE: Final = "next-ca-trusted-since"
FORMER_UNTIL: Final = "former-ca-until"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`following` is an authority that takes over as soon as it is trusted; `former` is one whose last leaf may still
    be shown.
    """

    authority: Pair | None = None
    leaf: Pair | None = None
    following: Pair | None = None
    trusted_since: datetime | None = None
    former: x509.Certificate | None = None
    former_until: datetime | None = None

    @property
    def trusted(self) -> list[x509.Certificate]:
        """Every authority that the API server must trust, the one that signs first."""
        pairs = [pair.certificate for pair in (self.authority, self.following) if pair]
        return [*pairs, *([self.former] if self.former else [])]

    @property
    def bundle(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.trusted)


def read(data: Mapping[str, bytes]) -> State:
    """What of the Secret can be used; the rest is as if it was not there, and made anew."""
    authority, following = _pair(data, AUTHORITY), _pair(data, NEXT)
    former = _certificate(data.get(FORMER, b""))
    return State(
        authority=authority,
        leaf=_pair(data, LEAF),
        following=following,
        trusted_since=_time(data.get(TRUSTED_SINCE, b"")) if following else None,
        former=former,
        former_until=_time(data.get(FORMER_UNTIL, b"")) if former else None,
    )


def write(state: State) -> dict[str, bytes | None]:
    """The keys of the Secret; None is a key to be removed."""
    data: dict[str, bytes | None] = {}
    for names, pair in ((AUTHORITY, state.authority), (LEAF, state.leaf), (NEXT, state.following)):
        data |= dict(zip(names, (pair.certificate_pem, pair.key_pem) if pair else (None, None), strict=True))
    for name, moment in ((TRUSTED_SINCE, state.trusted_since), (FORMER_UNTIL, state.former_until)):
        data[name] = moment.isoformat().encode() if moment else None
    return data | {FORMER: state.former.public_bytes(Encoding.PEM) if state.former else None}


def advance(
    state: State, *, host_names: Sequence[str], live: Sequence[x509.Certificate], now: datetime, early: float = 0
) -> State:
    """The next state, or the same one where nothing is to be done. Called again until it is the same.

    `live` are the authorities that every entry of the registration has; `early`, from 0 to 1, moves the renewal of a
    leaf by up to a tenth of its life, so that pods do not all try at the same moment.
    """
    authority, following, leaf = state.authority, state.following, state.leaf
    if authority is None or authority.certificate.not_valid_after_utc <= now:
        if following:  # it never got its turn, and is better than one that nobody has seen
            return replace(state, authority=following, following=None, trusted_since=None)
        founded = new_authority(now)  # with a leaf at once: a Secret of type kubernetes.io/tls may not be without one
        return State(authority=founded, leaf=new_leaf(founded, host_names, now))
    if following is None and _is_old(authority.certificate, now):
        return replace(state, following=new_authority(now))
    if following and state.trusted_since is None and following.certificate in live:
        return replace(state, trusted_since=now)
    if following and state.trusted_since and now - state.trusted_since >= SETTLING:
        until = leaf.certificate.not_valid_after_utc if leaf else now
        renewed = new_leaf(following, host_names, now)
        return State(authority=following, leaf=renewed, former=authority.certificate, former_until=until)
    if state.former and (state.former_until is None or state.former_until <= now):
        return replace(state, former=None, former_until=None)
    if not leaf or not serves(leaf, authority, host_names) or _is_old(leaf.certificate, now, early=early / 10):
        return replace(state, leaf=new_leaf(authority, host_names, now))
    return state


def begin_rotation(state: State, now: datetime) -> State:
    """With an authority that takes over; the same state where one is about to."""
    return state if state.following else replace(state, following=new_authority(now), trusted_since=None)


def serves(leaf: Pair, authority: Pair, host_names: Sequence[str]) -> bool:
    return is_issued_by(leaf.certificate, authority.certificate) and names_of(leaf.certificate) == frozenset(host_names)


def _is_old(certificate: x509.Certificate, now: datetime, *, early: float = 0) -> bool:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now <= life * (LEFT_AT_RENEWAL + early)


def _pair(data: Mapping[str, bytes], names: tuple[str, str]) -> Pair | None:
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
