"""The two objects of the cluster: the Secret with the keys, and the registration that says whom the API
server trusts.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from lightkube import Client
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import Status
from lightkube.resources.admissionregistration_v1 import MutatingWebhookConfiguration
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from model_contract.names import REGISTRATION, TLS_SECRET

CONFLICT: Final = 409
UNPROCESSABLE: Final = 422  # a `test` of a JSON patch that does not hold
NOT_FOUND: Final = 404


class ConflictError(Exception):
    """Somebody else wrote first; read again."""


class MissingError(Exception):
    """An object that the manifests bring is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """The Secret as it was read; `version` is what a write must still find."""

    data: Mapping[str, bytes]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The bundles of its webhooks in their order, and its version."""

    bundles: tuple[bytes, ...]
    version: str

    @property
    def trusted(self) -> list[x509.Certificate]:
        """The authorities that every entry has."""
        every = [certificates(bundle) for bundle in self.bundles]
        return (
            [certificate for certificate in every[0] if all(certificate in other for other in every)] if every else []
        )


class ClusterObjects:
    """Reads and writes them with the rights of a ServiceAccount or of a kubeconfig."""

    def __init__(self, client: Client, namespace: str) -> None:
        # msgspec 0.22, which decodes them, crashes where two threads at once are the first to need a class.
        for kind in (Secret, MutatingWebhookConfiguration, Status):
            kind.from_dict({})
        self._client = client
        self._namespace = namespace

    def secret(self) -> StoredSecret:
        """Raises MissingError, httpx2.HTTPError."""
        try:
            secret = self._client.get(Secret, TLS_SECRET, namespace=self._namespace)
        except ApiError as error:
            raise _known(error, f"Secret {self._namespace}/{TLS_SECRET}") from error
        data = {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}
        return StoredSecret(data=data, version=_version(secret))

    def write_secret(self, data: Mapping[str, bytes | None], version: str) -> None:
        """Writes nothing where the Secret is not the one that was read: ConflictError. Raises httpx2.HTTPError where it
        may not be so.
        """
        encoded = {key: None if value is None else base64.b64encode(value).decode() for key, value in data.items()}
        body = {"metadata": {"resourceVersion": version}, "data": encoded}
        try:
            self._client.patch(Secret, TLS_SECRET, body, namespace=self._namespace, patch_type=PatchType.MERGE)
        except ApiError as error:
            raise _known(error, f"Secret {self._namespace}/{TLS_SECRET}") from error

    def registration(self) -> Registration:
        """Raises as `secret` does."""
        try:
            found = self._client.get(MutatingWebhookConfiguration, REGISTRATION)
        except ApiError as error:
            raise _known(error, f"MutatingWebhookConfiguration {REGISTRATION}") from error
        bundles = tuple(base64.b64decode(webhook.clientConfig.caBundle or "") for webhook in found.webhooks or [])
        return Registration(bundles=bundles, version=_version(found))

    def trust(self, bundle: bytes, registration: Registration) -> None:
        """Writes the bundle into every entry. Raises ConflictError where the registration was changed meanwhile."""
        value = base64.b64encode(bundle).decode()
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": registration.version}
        changes = [
            {"op": "add", "path": f"/webhooks/{i}/clientConfig/caBundle", "value": value}
            for i in range(len(registration.bundles))
        ]
        try:
            self._client.patch(MutatingWebhookConfiguration, REGISTRATION, [same, *changes], patch_type=PatchType.JSON)
        except ApiError as error:
            if error.status.code == UNPROCESSABLE:  # what the patch tests is not so any more
                raise ConflictError(f"MutatingWebhookConfiguration {REGISTRATION} was changed meanwhile") from error
            raise _known(error, f"MutatingWebhookConfiguration {REGISTRATION}") from error

    def changes_of_secret(self) -> Iterator[object]:
        """One item for each change, until the API server ends the watch. A watch by name is all that
        the Role allows.
        """
        return self._client.watch(Secret, namespace=self._namespace, fields={"metadata.name": TLS_SECRET})

    def changes_of_registration(self) -> Iterator[object]:
        return self._client.watch(MutatingWebhookConfiguration, fields={"metadata.name": REGISTRATION})


def certificates(bundle: bytes) -> list[x509.Certificate]:
    """None of them where the bundle is damaged: it is written again."""
    try:
        return x509.load_pem_x509_certificates(bundle) if bundle.strip() else []
    except ValueError:
        return []


def _known(error: ApiError, what: str) -> Exception:
    code = error.status.code
    if code == NOT_FOUND:
        return MissingError(f"{what} is not there; apply the manifests")
    if code == CONFLICT:
        return ConflictError(f"{what} was changed meanwhile")
    return error


def _version(found: Any) -> str:
    return str(found.metadata.resourceVersion)
