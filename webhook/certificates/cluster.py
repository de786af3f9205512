"""The Secret with the keys, and the registration with the authorities that the API server trusts."""

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
UNPROCESSABLE: Final = 422  # a `test` of a JSON patch that fails
NOT_FOUND: Final = 404


class ConflictError(Exception):
    """Another client wrote the object first; read it again."""


class MissingError(Exception):
    """An object of the manifests does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """The Secret as it was read; a write succeeds only if the Secret still has this `version`."""

    data: Mapping[str, bytes]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The CA bundles of the registration's webhooks, in order, and the version of the object."""

    bundles: tuple[bytes, ...]
    version: str

    @property
    def trusted(self) -> list[x509.Certificate]:
        """The authorities in the bundle of every entry."""
        every = [certificates(bundle) for bundle in self.bundles]
        return (
            [certificate for certificate in every[0] if all(certificate in other for other in every)] if every else []
        )


class ClusterObjects:
    """Reads and writes both objects with the rights of a ServiceAccount or of a kubeconfig."""

    def __init__(self, client: Client, namespace: str) -> None:
        # msgspec 0.22, which decodes them, crashes if two threads at once are the first to need a class.
        for kind in (Secret, MutatingWebhookConfiguration, Status):
            kind.from_dict({})
        self._client = client
        self._namespace = namespace

    def secret(self) -> StoredSecret:
        """Return the Secret. Raises MissingError, httpx2.HTTPError."""
        try:
            secret = self._client.get(Secret, TLS_SECRET, namespace=self._namespace)
        except ApiError as error:
            raise _named_error(error, f"Secret {self._namespace}/{TLS_SECRET}") from error
        data = {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}
        return StoredSecret(data=data, version=_version(secret))

    def write_secret(self, data: Mapping[str, bytes | None], version: str) -> None:
        """Write keys of the Secret; None removes a key.

        Raises ConflictError if the Secret no longer has `version`, MissingError, httpx2.HTTPError.
        """
        encoded = {key: None if value is None else base64.b64encode(value).decode() for key, value in data.items()}
        body = {"metadata": {"resourceVersion": version}, "data": encoded}
        try:
            self._client.patch(Secret, TLS_SECRET, body, namespace=self._namespace, patch_type=PatchType.MERGE)
        except ApiError as error:
            raise _named_error(error, f"Secret {self._namespace}/{TLS_SECRET}") from error

    def registration(self) -> Registration:
        """Return the registration. Raises MissingError, httpx2.HTTPError."""
        try:
            found = self._client.get(MutatingWebhookConfiguration, REGISTRATION)
        except ApiError as error:
            raise _named_error(error, f"MutatingWebhookConfiguration {REGISTRATION}") from error
        bundles = tuple(base64.b64decode(webhook.clientConfig.caBundle or "") for webhook in found.webhooks or [])
        return Registration(bundles=bundles, version=_version(found))

    def write_bundle(self, bundle: bytes, registration: Registration) -> None:
        """Write the bundle into every entry. Raises ConflictError if the registration was changed meanwhile."""
        value = base64.b64encode(bundle).decode()
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": registration.version}
        changes = [
            {"op": "add", "path": f"/webhooks/{i}/clientConfig/caBundle", "value": value}
            for i in range(len(registration.bundles))
        ]
        try:
            self._client.patch(MutatingWebhookConfiguration, REGISTRATION, [same, *changes], patch_type=PatchType.JSON)
        except ApiError as error:
            if error.status.code == UNPROCESSABLE:  # the version that the patch tests is old
                raise ConflictError(f"MutatingWebhookConfiguration {REGISTRATION} was changed meanwhile") from error
            raise _named_error(error, f"MutatingWebhookConfiguration {REGISTRATION}") from error

    def watch_secret(self) -> Iterator[object]:
        """Yield an item for each change until the API server ends the watch. The Role allows a watch by name only."""
        return self._client.watch(Secret, namespace=self._namespace, fields={"metadata.name": TLS_SECRET})

    def watch_registration(self) -> Iterator[object]:
        return self._client.watch(MutatingWebhookConfiguration, fields={"metadata.name": REGISTRATION})


def certificates(bundle: bytes) -> list[x509.Certificate]:
    """Return the certificates of a bundle; none if it is damaged, so that it is written again."""
    try:
        return x509.load_pem_x509_certificates(bundle) if bundle.strip() else []
    except ValueError:
        return []


def _named_error(error: ApiError, what: str) -> Exception:
    code = error.status.code
    if code == NOT_FOUND:
        return MissingError(f"{what} is not there; apply the manifests")
    if code == CONFLICT:
        return ConflictError(f"{what} was changed meanwhile")
    return error


def _version(found: Any) -> str:
    return str(found.metadata.resourceVersion)
