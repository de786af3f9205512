"""Self-managed certificates: every step, and a pod never serves a certificate that is not trusted."""

import itertools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webhook.certificates.cluster import ConflictError, MissingError, Registration, StoredSecret
from webhook.certificates.issuance import (
    LEAF_LIFE,
    KeyPair,
    host_names_of,
    is_issued_by,
    new_authority,
    new_leaf,
    read_pair,
)
from webhook.certificates.reconciler import CertificateFiles, CertificateReconciler, PodCertificate, host_names
from webhook.certificates.state import (
    TRUST_DELAY,
    SecretState,
    advance,
    begin_rotation,
    is_valid_leaf,
    read_state,
    write_state,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NAMES = host_names("domino-platform")


def settled(now: datetime = NOW) -> SecretState:
    """An authority that is trusted, and a leaf of it."""
    state = advance(SecretState(), host_names=NAMES, registered=[], now=now)
    return advance(state, host_names=NAMES, registered=state.trusted, now=now)


def step(state: SecretState, now: datetime = NOW, *, trusted: bool = True, early: float = 0) -> SecretState:
    return advance(state, host_names=NAMES, registered=state.trusted if trusted else [], now=now, early=early)


def test_nothing_becomes_an_authority_and_a_leaf_with_the_names_of_the_service() -> None:
    state = settled()

    assert state.authority and state.leaf
    assert is_valid_leaf(state.leaf, state.authority, NAMES)
    assert host_names_of(state.leaf.certificate) == {
        "model-api-webhook",
        "model-api-webhook.domino-platform",
        "model-api-webhook.domino-platform.svc",
        "model-api-webhook.domino-platform.svc.cluster.local",
    }
    assert step(state) is state


def test_certificates_are_valid_ten_minutes_ago_already() -> None:
    state = settled()

    for pair in (state.authority, state.leaf):
        assert pair and pair.certificate.not_valid_before_utc == NOW - timedelta(minutes=10)


def test_leaf_is_one_that_a_strict_client_accepts(tmp_path: Path) -> None:
    state = settled(datetime.now(UTC))
    assert state.leaf
    (tmp_path / "pair").write_bytes(state.leaf.key_pem + state.leaf.certificate_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pair")
    client = ssl.create_default_context(cadata=state.bundle.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=NAMES[0])
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue

    assert one.version() == "TLSv1.3"


def test_leaf_is_renewed_when_a_third_of_its_life_is_left() -> None:
    state = settled()
    life = LEAF_LIFE + timedelta(minutes=10)
    due = NOW + LEAF_LIFE - life / 3

    assert step(state, due - timedelta(seconds=1)) is state
    renewed = step(state, due)
    assert renewed.leaf != state.leaf
    assert renewed.authority == state.authority
    assert step(renewed, due) is renewed


def test_pods_renew_at_different_times() -> None:
    state = settled()

    assert step(state, NOW + timedelta(days=55), early=0) is state
    assert step(state, NOW + timedelta(days=55), early=1) is not state


@pytest.mark.parametrize("names", [["another"], [*NAMES, "one-more"]])
def test_leaf_for_other_names_is_replaced(names: list[str]) -> None:
    state = settled()
    assert state.authority
    odd = replace(state, leaf=new_leaf(state.authority, names, NOW))

    leaf = step(odd).leaf
    assert leaf and host_names_of(leaf.certificate) == frozenset(NAMES)


def test_leaf_of_another_authority_is_replaced() -> None:
    state = settled()
    odd = replace(state, leaf=new_leaf(new_authority(NOW), NAMES, NOW))

    repaired = step(odd)
    assert repaired.leaf and repaired.authority
    assert is_issued_by(repaired.leaf.certificate, repaired.authority.certificate)


def test_new_authority_signs_only_a_minute_after_it_is_trusted() -> None:
    rotating = begin_rotation(settled(), NOW)
    assert rotating.next_authority and rotating.authority
    assert rotating.trusted == [rotating.authority.certificate, rotating.next_authority.certificate]

    assert step(rotating, NOW + timedelta(days=1), trusted=False) is rotating
    seen = step(rotating)
    assert seen.trusted_since == NOW
    assert step(seen, NOW + TRUST_DELAY - timedelta(seconds=1)) is seen
    signed = step(seen, NOW + TRUST_DELAY)
    assert signed.authority == rotating.next_authority
    assert signed.leaf and is_issued_by(signed.leaf.certificate, rotating.next_authority.certificate)
    assert signed.trusted == [rotating.next_authority.certificate, rotating.authority.certificate]


def test_former_authority_is_trusted_until_its_last_leaf_has_ended() -> None:
    before = settled()
    assert before.leaf
    end = before.leaf.certificate.not_valid_after_utc
    state = replace(begin_rotation(before, NOW), trusted_since=NOW - TRUST_DELAY)
    state = step(state)

    assert state.former_authority is not None
    assert step(state, end - timedelta(days=40)).former_authority is not None
    last = step(state, end)
    assert last.former_authority is None


def test_rotation_that_has_begun_is_not_begun_again() -> None:
    rotating = begin_rotation(settled(), NOW)

    assert begin_rotation(rotating, NOW) is rotating


def test_authority_is_replaced_long_before_it_ends() -> None:
    state = settled()

    later = step(state, NOW + timedelta(days=2500))
    assert later.next_authority is not None
    assert later.authority == state.authority


def test_authority_that_has_ended_gives_way_to_one_that_waits() -> None:
    rotating = begin_rotation(settled(), NOW + timedelta(days=3000))

    after = step(rotating, NOW + timedelta(days=3651), trusted=False)
    assert after.authority == rotating.next_authority
    assert after.next_authority is None


def test_secret_holds_the_state_and_nothing_else() -> None:
    state = begin_rotation(settled(), NOW)
    state = replace(state, trusted_since=NOW, former_authority=new_authority(NOW).certificate, former_until=NOW)
    data = {key: value for key, value in write_state(state).items() if value is not None}

    assert write_state(read_state(data)) == write_state(state)
    assert set(write_state(SecretState()).values()) == {None}
    assert read_state({}) == SecretState()


@pytest.mark.parametrize(
    "damage", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize(
    "key", ["ca.crt", "ca.key", "tls.crt", "tls.key", "next-ca.crt", "former-ca.crt", "next-ca-trusted-since"]
)
def test_damaged_secret_is_made_good(key: str, damage: bytes) -> None:
    state = replace(
        begin_rotation(settled(), NOW),
        trusted_since=NOW,
        former_authority=new_authority(NOW).certificate,
        former_until=NOW,
    )
    data = {name: value for name, value in write_state(state).items() if value is not None} | {key: damage}

    repaired = read_state(data)
    for _ in range(10):
        repaired = step(repaired, NOW + timedelta(seconds=1))
    assert repaired.authority and repaired.leaf
    assert is_valid_leaf(repaired.leaf, repaired.authority, NAMES)


def test_key_of_another_certificate_is_no_pair() -> None:
    one, other = new_authority(NOW), new_authority(NOW)

    with pytest.raises(ValueError, match="another certificate's"):
        read_pair(one.certificate_pem, other.key_pem)


def test_pair_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(settled())


@dataclass
class Cluster:
    """Secret and registration with the API server's rules: a write needs the current version, a TLS Secret its pair."""

    data: Mapping[str, bytes] = field(default_factory=dict)
    bundles: tuple[bytes, ...] = (b"", b"")
    registered: bool = True
    there: bool = True
    versions: "itertools.count[int]" = field(default_factory=itertools.count)
    secret_version: str = "a"
    registration_version: str = "b"
    writes: int = 0

    def secret(self) -> StoredSecret:
        if not self.there:
            raise MissingError("no Secret")
        return StoredSecret(data=dict(self.data), version=self.secret_version)

    def write_secret(self, data: Mapping[str, bytes | None], version: str) -> None:
        if version != self.secret_version:
            raise ConflictError("changed")
        written = {key: value for key, value in (dict(self.data) | dict(data)).items() if value is not None}
        if not {"tls.crt", "tls.key"} <= written.keys():
            raise httpx2.HTTPError("Secret is invalid: data[tls.crt]: Required value")
        self.data = written
        self.secret_version = f"a{next(self.versions)}"
        self.writes += 1

    def registration(self) -> Registration:
        if not self.registered:
            raise MissingError("no registration")
        return Registration(bundles=self.bundles, version=self.registration_version)

    def write_bundle(self, bundle: bytes, registration: Registration) -> None:
        if registration.version != self.registration_version:
            raise ConflictError("changed")
        self.bundles = tuple(bundle for _ in self.bundles)
        self.registration_version = f"b{next(self.versions)}"
        self.writes += 1

    @property
    def trusted(self) -> list[x509.Certificate]:
        return Registration(bundles=self.bundles, version="").trusted


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


def reconciler(
    cluster: Cluster, directory: Path, clock: Clock, early: float = 0
) -> tuple[CertificateReconciler, CertificateFiles]:
    files = CertificateFiles(certificate=directory / "tls.crt", key=directory / "tls.key")
    pod = PodCertificate(host_names=NAMES, early=early)
    return CertificateReconciler(cluster, files, pod, clock=clock), files  # type: ignore[arg-type]  # the same methods, without an API server


def shown(files: CertificateFiles) -> KeyPair:
    pair = files.read()
    assert pair
    return pair


def test_first_round_makes_registers_and_shows_a_certificate(tmp_path: Path) -> None:
    cluster, clock = Cluster(), Clock()
    own, files = reconciler(cluster, tmp_path, clock)
    assert own.fault()
    own.reconcile()

    assert own.fault() is None
    assert any(is_issued_by(shown(files).certificate, authority) for authority in cluster.trusted)
    assert len(set(cluster.bundles)) == 1
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_round_with_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    cluster, clock = Cluster(), Clock()
    own, _ = reconciler(cluster, tmp_path, clock)
    own.reconcile()
    before = cluster.writes
    own.reconcile()

    assert cluster.writes == before


def test_cleared_bundle_of_one_entry_is_repaired(tmp_path: Path) -> None:
    cluster, clock = Cluster(), Clock()
    own, _ = reconciler(cluster, tmp_path, clock)
    own.reconcile()
    whole = cluster.bundles
    cluster.bundles = (whole[0], b"")
    own.reconcile()

    assert cluster.bundles == whole
    assert own.fault() is None


def test_webhook_that_is_not_registered_has_a_certificate_and_says_why_it_is_not_ready(tmp_path: Path) -> None:
    cluster, clock = Cluster(registered=False), Clock()
    own, files = reconciler(cluster, tmp_path, clock)
    own.reconcile()

    assert shown(files)
    assert (own.fault() or "").startswith("ca_not_trusted")
    cluster.registered = True
    own.reconcile()
    assert own.fault() is None


def test_emptied_secret_gets_back_what_the_pods_know(tmp_path: Path) -> None:
    cluster, clock = Cluster(), Clock()
    own, files = reconciler(cluster, tmp_path, clock)
    own.reconcile()
    before, data = shown(files).certificate, dict(cluster.data)
    cluster.data = {}
    own.reconcile()

    assert cluster.data == data
    assert shown(files).certificate == before


def test_secret_that_another_issuer_has_left_is_taken_over(tmp_path: Path) -> None:
    """cert-manager's `ca.crt` has no key beside it, or the key of an earlier authority of the webhook."""
    cluster, clock = Cluster(), Clock()
    ours, theirs = write_state(settled()), write_state(settled())
    kept = theirs | {"ca.key": ours["ca.key"]}
    cluster.data = {key: value for key, value in kept.items() if value is not None}
    own, files = reconciler(cluster, tmp_path, clock)
    own.reconcile()

    assert own.fault() is None
    assert shown(files).certificate_pem == cluster.data["tls.crt"]
    assert cluster.data["tls.crt"] != theirs["tls.crt"]


def test_secret_that_is_gone_changes_nothing_that_is_served(tmp_path: Path) -> None:
    cluster, clock = Cluster(), Clock()
    own, files = reconciler(cluster, tmp_path, clock)
    own.reconcile()
    before = shown(files).certificate
    cluster.there = False

    with pytest.raises(MissingError):
        own.reconcile()
    assert own.fault() is None
    assert shown(files).certificate == before


def test_restarted_pod_shows_what_it_had_and_then_what_is_due(tmp_path: Path) -> None:
    cluster, clock = Cluster(), Clock()
    first, files = reconciler(cluster, tmp_path, clock)
    first.reconcile()
    before = shown(files).certificate
    clock.now += timedelta(days=80)
    second, _ = reconciler(cluster, tmp_path, clock)
    assert shown(files).certificate == before
    second.reconcile()

    assert shown(files).certificate != before
    assert second.fault() is None


MINUTE = timedelta(minutes=1)
EVENTS = st.one_of(
    st.tuples(st.just("pod"), st.integers(0, 2)),
    st.tuples(st.just("time"), st.sampled_from([MINUTE / 2, MINUTE * 2, timedelta(days=3)])),
    st.tuples(st.just("rotate"), st.none()),
    st.tuples(st.just("restart"), st.integers(0, 2)),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(events=st.lists(EVENTS, max_size=60))
def test_no_pod_ever_shows_what_is_not_trusted(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, object]]
) -> None:
    """Three pods: any order of rounds, restarts, rotations and waits, each with a round, as a pod runs two a minute."""
    cluster, clock = Cluster(), Clock()
    folders = [tmp_path_factory.mktemp("pod") for _ in range(3)]
    pods = [reconciler(cluster, folder, clock, early=number / 3) for number, folder in enumerate(folders)]
    for own, _ in pods:
        own.reconcile()
    for kind, value in events:
        if kind == "pod":
            pods[int(str(value))][0].reconcile()
        elif kind == "restart":
            number = int(str(value))
            pods[number] = reconciler(cluster, folders[number], clock, early=number / 3)
            pods[number][0].reconcile()
        elif kind == "rotate":
            state = begin_rotation(read_state(cluster.data), clock.now)
            cluster.write_secret(write_state(state), cluster.secret_version)
        elif isinstance(value, timedelta):
            clock.now += value
            for own, _ in pods:
                own.reconcile()
        for own, files in pods:
            certificate = shown(files).certificate
            assert any(is_issued_by(certificate, authority) for authority in cluster.trusted)
            assert certificate.not_valid_after_utc > clock.now
            assert own.fault() is None
