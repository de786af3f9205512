"""Workloads of the pod's namespace that name a model, by the Kubernetes API, with the pod's service account."""

import ssl
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.secret import Secret
from model_contract.tracking_credentials import Credential, bearer
from model_delivery.client import Client
from model_delivery.deadline import Deadline
from model_delivery.errors import DeliveryError, InvalidInputError
from model_delivery.tracking_uri import HOST, TrackingUri

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"
PORT_VARIABLE: Final = "KUBERNETES_SERVICE_PORT"
# Pods that have ended do not read again; a Deployment without replicas may be scaled up.
LISTS: Final = {
    "pods": "/api/v1/namespaces/{}/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
    "statefulsets": "/apis/apps/v1/namespaces/{}/statefulsets",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workloads:
    """The Kubernetes API as a pod reaches it. `tls` is None for http."""

    uri: TrackingUri
    namespace: str
    credential: Credential
    tls: ssl.SSLContext | None

    @classmethod
    def of_this_pod(cls, environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> "Workloads":
        """Read the variables and files that the kubelet gives a pod. Raises InvalidInputError outside of one."""
        host, port = environ.get(HOST_VARIABLE, ""), environ.get(PORT_VARIABLE, "")
        if not HOST.fullmatch(host) or not port.isdecimal():
            raise InvalidInputError(f"{HOST_VARIABLE} and {PORT_VARIABLE} name no Kubernetes API: this is not a pod")
        try:
            return cls(
                uri=TrackingUri(scheme="https", host=host, port=int(port)),
                namespace=(account / "namespace").read_text(encoding="utf-8").strip(),
                credential=bearer(Secret.from_file(account / "token"), "the pod's service account"),
                tls=ssl.create_default_context(cafile=account / "ca.crt"),
            )
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"the pod has no usable service account in {account}; set automountServiceAccountToken: true"
            ) from error

    def naming(self, texts: Collection[str], deadline: Deadline) -> set[str]:
        """Return those of the texts that a workload names anywhere. Raises DeliveryError."""
        client = Client(
            self.uri,
            credential=self.credential,
            proxy=None,
            deadline=deadline,
            tls=self.tls,
            name="the Kubernetes API",
            setting=HOST_VARIABLE,
        )
        found: set[str] = set()
        try:
            for kind, path in LISTS.items():
                what = f"{kind} of namespace {self.namespace}"
                found |= client.get_parsed(what, path.format(self.namespace), lambda body: _found_in(body, texts))
        except DeliveryError as error:
            raise type(error)(f"{error}; the service account must be able to list these objects") from error
        finally:
            client.close()
        return found


def _found_in(body: Iterable[bytes], texts: Collection[str]) -> set[str]:
    """Return those of the texts that the body holds; it is read in pieces, since a namespace may have many pods."""
    wanted, found = {text.encode(): text for text in texts}, set[str]()
    longest = max(map(len, wanted), default=0)
    end = b""
    for piece in body:
        window = end + piece
        found |= {text for encoded, text in wanted.items() if encoded in window}
        end = window[-longest:]
    return found
