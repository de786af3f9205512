"""The Secrets of the cluster: the tokens of all projects, and a copy of each project's pull token for its pods."""

import base64
import os
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import yaml
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.models.meta_v1 import ObjectMeta, Status
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from model_contract.kubeconfig import KubeconfigError, MalformedKubeconfigError, proxy_of, read_kubeconfig
from model_contract.model_ref import printable
from model_contract.names import PROJECT_ID_LABEL, PROJECT_TOKENS_SECRETS, TOKEN_KEY, pull_secret
from model_contract.tls import TlsSettingError, check_authorities
from model_lifecycle.errors import (
    InvalidError,
    LifecycleError,
    NotAuthorisedError,
    NotFoundError,
    PartialError,
    PreconditionError,
    UnavailableError,
)
from model_lifecycle.http_client import proxy_errors

SecretData = Mapping[str, bytes]
SecretPatch = Mapping[str, bytes | None]  # None removes a key

CONFLICT: Final = 409
REMEDY: Final = "set KUBECONFIG to the file of your cluster"
NOT_FOUND: Final = 404
UNPROCESSABLE: Final = 422  # such as a change of an immutable Secret, or one above a MiB
KINDS: Final[Mapping[int, type[LifecycleError]]] = {
    400: InvalidError,
    401: NotAuthorisedError,
    403: NotAuthorisedError,
    NOT_FOUND: NotFoundError,
    CONFLICT: PreconditionError,
    413: PreconditionError,
    UNPROCESSABLE: PreconditionError,
}
TRIES: Final = 5
LABELS: Final = {"app.kubernetes.io/managed-by": "model-api", "app.kubernetes.io/part-of": "mlflow-model-api"}


@contextmanager
def client_of(context: str | None) -> Iterator[Client]:
    """Yield a client for a context of the kubeconfig, or for the pod's ServiceAccount.

    Raises LifecycleError, also for an answer that the block does not handle.
    """
    proxy = None
    try:
        configuration, proxy = _configuration(context)
        with proxy_errors():
            opened = Client(configuration, field_manager="model-api", proxy=proxy)
        with opened as client:
            yield client
    except TlsSettingError as error:
        raise InvalidError(str(error)) from error
    except ssl.SSLError as error:
        raise InvalidError(
            f"a certificate or key of the kubeconfig cannot be used: {error.reason or 'it is not PEM'}"
        ) from error
    except MalformedKubeconfigError as error:
        raise InvalidError(f"no cluster: {error}; {REMEDY}") from error
    except (ConfigError, KubeconfigError) as error:
        raise UnavailableError(f"no cluster: {printable(str(error))}; {REMEDY}") from error
    except httpx2.HTTPStatusError as error:
        kind = KINDS.get(error.response.status_code, UnavailableError)
        raise kind(error.status.message if isinstance(error, ApiError) else str(error)) from error
    except httpx2.TransportError as error:
        way = " through the proxy-url of the kubeconfig" if proxy else ""
        raise UnavailableError(f"the cluster does not answer{way}: {error}") from error


def _configuration(context: str | None) -> tuple[Any, str | None]:
    """Return the context of the kubeconfig, and the proxy that it names; in a pod without one, its ServiceAccount.

    Raises ConfigError and others.

    lightkube's own search takes the ServiceAccount first: in a job of CI it would be another cluster than KUBECONFIG's.
    """
    check_authorities(os.environ)  # lightkube's client reads them as well
    found = read_kubeconfig(
        os.environ,
        context,
        parse=yaml.safe_load,
        build=lambda one: (KubeConfig.from_dict(one).get(), proxy_of(one)),
    )
    if found:
        return found
    try:
        return KubeConfig.from_service_account().get(context), None
    except ConfigError as error:
        raise ConfigError("there is no ~/.kube/config, and this is not a pod") from error


class TokenSecret:
    """The Secret of all projects, under its name or, if only that is there, under the older one."""

    def __init__(self, client: Client, namespace: str, name: str | None) -> None:
        Status.from_dict({})  # msgspec 0.22 crashes if two threads at once are the first to need a class
        self._client = client
        self._namespace = namespace
        self._names = (name,) if name else PROJECT_TOKENS_SECRETS

    @property
    def title(self) -> str:
        """Name of the Secret, for messages."""
        return f"Secret {self._namespace}/{(self._found() or self._blank()).metadata.name}"

    def read(self) -> SecretData:
        """Return the data of the Secret; no data if there is no Secret."""
        found = self._found()
        return _decoded(found) if found else {}

    def change(self, make: Callable[[SecretData], SecretPatch]) -> None:
        """Write the patch that `make` computes, and try again after a conflict. Raises what `make` raises."""
        for _ in range(TRIES):
            try:
                return self._write(make)
            except ApiError as error:
                if error.status.code != CONFLICT:
                    raise
                time.sleep(random.uniform(0.05, 0.3))  # noqa: S311  so that two callers do not retry at the same time
        raise UnavailableError(f"{self.title} was changed by another caller {TRIES} times in a row; try again")

    def _write(self, make: Callable[[SecretData], SecretPatch]) -> None:
        found = self._found()
        if found is None:
            data = {key: _encoded(value) for key, value in make({}).items() if value is not None}
            blank = self._blank()
            blank.data = data
            self._client.create(blank)
            return
        patch = {key: None if value is None else _encoded(value) for key, value in make(_decoded(found)).items()}
        body = {"metadata": {"resourceVersion": found.metadata.resourceVersion}, "data": patch}
        self._client.patch(Secret, found.metadata.name, body, namespace=self._namespace, patch_type=PatchType.MERGE)

    def _found(self) -> Any:
        return next((found for name in self._names if (found := get(self._client, name, self._namespace))), None)

    def _blank(self) -> Any:
        return Secret(metadata=ObjectMeta(name=self._names[0], namespace=self._namespace, labels=LABELS), type="Opaque")


def copy_pull_tokens(
    client: Client, namespace: str, tokens: Mapping[str, str], *, prune: bool
) -> Iterator[tuple[str, str]]:
    """Create or correct the Secret of each project, and yield its name and what was done.

    With `prune`, Secrets with the label of this command are removed if their project has no pull token. Raises
    PartialError at the end if the API server refuses one, such as an immutable Secret: the others are right then.
    """
    refused = []
    for project, token in tokens.items():
        try:
            yield pull_secret(project), _copy(client, namespace, project, token)
        except ApiError as error:
            if error.status.code != UNPROCESSABLE:
                raise
            refused.append(error.status.message or f"{pull_secret(project)} is refused")
    if prune:
        wanted = {pull_secret(project) for project in tokens}
        for found in client.list(Secret, namespace=namespace, labels={"app.kubernetes.io/managed-by": "model-api"}):
            if found.metadata and found.metadata.name and found.metadata.name not in wanted:
                _remove(client, found.metadata.name, namespace)
                yield found.metadata.name, "removed"
    if refused:
        raise PartialError(
            f"{'; '.join(refused)}. The other Secrets are right: delete what is refused, and run the command again"
        )


def _copy(client: Client, namespace: str, project: str, token: str) -> str:
    """Create or correct the Secret of a project, and return what was done. Raises ApiError."""
    name, data = pull_secret(project), {TOKEN_KEY: _encoded(token.encode())}
    found = get(client, name, namespace)
    if found is None:
        metadata = ObjectMeta(name=name, namespace=namespace, labels=LABELS | {PROJECT_ID_LABEL: project})
        try:
            client.create(Secret(metadata=metadata, type="Opaque", data=data))
        except ApiError as error:  # another caller may have been first
            if error.status.code != CONFLICT or (found := get(client, name, namespace)) is None:
                raise
        else:
            return "created"
    if (found.data or {}).get(TOKEN_KEY) == data[TOKEN_KEY]:
        return "as it should be"
    client.patch(Secret, name, {"data": data}, namespace=namespace, patch_type=PatchType.MERGE)
    return "changed" if _is_ours(found) else "replaced: it held another token, and was not made by this command"


def _remove(client: Client, name: str, namespace: str) -> None:
    try:
        client.delete(Secret, name, namespace=namespace)
    except ApiError as error:
        if error.status.code != NOT_FOUND:  # another caller was first
            raise


def get(client: Client, name: str, namespace: str) -> Any:
    """Return the Secret, or None if there is none."""
    try:
        return client.get(Secret, name, namespace=namespace)
    except ApiError as error:
        if error.status.code == NOT_FOUND:
            return None
        raise


def _is_ours(secret: Any) -> bool:
    return (secret.metadata.labels or {}).get("app.kubernetes.io/managed-by") == LABELS["app.kubernetes.io/managed-by"]


def _decoded(secret: Any) -> SecretData:
    return {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()
