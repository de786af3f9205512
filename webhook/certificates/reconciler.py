"""Reconciles the Secret, the registration and the certificate files, in one thread of each pod of the webhook.

The thread runs after each change of the objects and twice a minute.
"""

import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2
from cryptography import x509
from lightkube import Client

from model_contract.names import WEBHOOK_SERVICE
from webhook.certificates.cluster import ClusterObjects, ConflictError, MissingError, Registration, StoredSecret
from webhook.certificates.issuance import KeyPair, is_issued_by, read_pair
from webhook.certificates.state import SecretState, advance, read_state, write_state

INTERVAL: Final = 30.0  # seconds
WATCH_RETRY: Final = 5.0  # seconds after a watch that broke off
MAX_STEPS: Final = 20  # of one round; `advance` needs at most four, and each may lose against another pod
FAULT: Final = "ca_not_trusted"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """The files from which the server reads the certificate and its key."""

    certificate: Path
    key: Path

    def read(self) -> KeyPair | None:
        """Return the pair that an earlier process of this pod wrote; None if there is none."""
        try:
            return read_pair(self.certificate.read_bytes(), self.key.read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, pair: KeyPair) -> None:
        """Write both files, each by one rename. The server keeps its old pair until both files fit together."""
        for path, content in ((self.key, pair.key_pem), (self.certificate, pair.certificate_pem)):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".new")
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(content)
            unfinished.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCertificate:
    """The host names of the certificate, and the argument `early` of `advance`: how early this pod renews it."""

    host_names: Sequence[str]
    early: float


def reconciler_of_pod(
    namespace: str, certificate: Path, key: Path, observe: Callable[[bool, datetime], None]
) -> "CertificateReconciler":
    """Return the reconciler of this pod, with the rights of its ServiceAccount."""
    files = CertificateFiles(certificate=certificate, key=key)
    early = zlib.crc32(socket.gethostname().encode()) / 2**32  # differs between pods, stays after a restart
    return CertificateReconciler(
        ClusterObjects(Client(), namespace),
        files,
        PodCertificate(host_names=host_names(namespace), early=early),
        observe,
    )


def host_names(namespace: str) -> list[str]:
    """Return the host names of the webhook's Service; the API server uses the first one."""
    service = f"{WEBHOOK_SERVICE}.{namespace}.svc"
    return [service, f"{service}.cluster.local", f"{WEBHOOK_SERVICE}.{namespace}", WEBHOOK_SERVICE]


class CertificateReconciler:
    """Keeps Secret and registration as they must be, and serves only a certificate that the API server trusts."""

    def __init__(
        self,
        objects: ClusterObjects,
        files: CertificateFiles,
        pod: PodCertificate,
        observe: Callable[[bool, datetime], None] = lambda _in_sync, _until: None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`observe` is called after each round: is the certificate trusted, and until when is the authority valid."""
        self._objects = objects
        self._files = files
        self._pod = pod
        self._clock = clock
        self._observe = observe
        self._wake = threading.Event()
        self._known = SecretState()
        self._served = files.read()
        self._trusted = False

    def fault(self) -> str | None:
        """Return the reason why the API server does not trust this pod's certificate; None if it does."""
        return (
            None
            if self._trusted
            else f"{FAULT}: the registration does not have the authority of this webhook's certificate"
        )

    def start(self) -> None:
        """Start the rounds and the watches in threads."""
        for changes in (self._objects.watch_secret, self._objects.watch_registration):
            threading.Thread(target=self._watch, args=(changes,), daemon=True).start()
        threading.Thread(target=self._run, daemon=True).start()

    def wait_for_pair(self) -> None:
        """Return when there is a pair to serve. It waits without limit, as no client can connect before."""
        while self._served is None:
            self._attempt()
            if self._served is None:
                time.sleep(1)

    def reconcile(self) -> None:
        """Make every step that is due. After an error the served pair stays. Raises MissingError, httpx2.HTTPError."""
        for _ in range(MAX_STEPS):
            registration = self._registration()
            stored = self._objects.secret()
            state = self._last_known(read_state(stored.data))
            registered = registration.trusted if registration else []
            step = advance(
                state, host_names=self._pod.host_names, registered=registered, now=self._clock(), early=self._pod.early
            )
            try:
                if step is not state or write_state(state) != _present(stored):
                    self._objects.write_secret(write_state(step), stored.version)
                    continue
                if registration and not all(bundle == state.bundle for bundle in registration.bundles):
                    self._objects.write_bundle(state.bundle, registration)
                    _log.info("the registration has the authorities of this webhook again")
                    continue
            except ConflictError:
                continue
            self._known = state
            self._serve(state, registered)
            return
        _log.warning(
            "the certificate could not be reconciled: another client keeps changing the Secret or the registration"
        )

    def _last_known(self, state: SecretState) -> SecretState:
        """Return the last known state instead of an emptied one: the API server still trusts its authority."""
        return state if state.authority or not self._known.authority else self._known

    def _registration(self) -> Registration | None:
        """Return the registration; None if the webhook is not registered yet, which must not block a certificate."""
        try:
            return self._objects.registration()
        except MissingError:
            return None

    def _serve(self, state: SecretState, registered: Sequence[x509.Certificate]) -> None:
        leaf = state.leaf
        if leaf is None:  # advance gives one to every authority
            return
        served = self._served
        if served is None or (
            leaf.certificate != served.certificate
            and (is_trusted(leaf, registered) or not is_trusted(served, registered))
        ):
            self._files.write(leaf)
            self._served = served = leaf
        self._trusted = is_trusted(served, registered)
        authority = state.authority
        if authority:
            self._observe(self._trusted, authority.certificate.not_valid_after_utc)

    def _run(self) -> None:
        while True:
            self._attempt()
            self._wake.wait(INTERVAL)
            self._wake.clear()

    def _attempt(self) -> None:
        try:
            self.reconcile()
        except (MissingError, httpx2.HTTPError) as error:
            _log.warning(
                "the certificate could not be reconciled; the server keeps the one that it has",
                extra={"fields": {"error": str(error)}},
            )
        except Exception:  # noqa: BLE001  without this thread the certificate would expire in two months
            _log.exception("the reconciliation of the certificate failed; it is tried again")

    def _watch(self, changes: Callable[[], Iterator[object]]) -> None:
        """Wake the thread at each change. A change that the watch misses is found by the next round."""
        while True:
            try:
                for _ in changes():
                    self._wake.set()
            except (httpx2.HTTPError, ValueError) as error:  # ValueError: a line that was cut in the middle
                _log.info(
                    "a watch ended; the next round starts on its schedule", extra={"fields": {"error": str(error)}}
                )
                time.sleep(WATCH_RETRY)


def is_trusted(leaf: KeyPair, registered: Sequence[x509.Certificate]) -> bool:
    return any(is_issued_by(leaf.certificate, authority) for authority in registered)


def _present(stored: StoredSecret) -> dict[str, bytes | None]:
    return {key: stored.data.get(key) for key in write_state(SecretState())}
