"""Requests of a rollout to the cluster: it reads and patches the workload, lists its pods, and asks one over HTTP."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx2
from lightkube import Client
from lightkube.config import client_adapter
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Pod

from model_contract.model_ref import printable
from model_lifecycle.errors import (
    InvalidError,
    LifecycleError,
    NotAuthorisedError,
    NotFoundError,
    UnavailableError,
    UnclearError,
)
from model_lifecycle.rollout.readiness import is_selected
from model_lifecycle.rollout.target import Kind, Target
from model_lifecycle.rollout.workloads import State, Workload

Json = dict[str, Any]
Reply = tuple[int, Any]  # status, and the body as JSON, or None

RESOURCES: Final[Mapping[Kind, Any]] = {
    Kind.DEPLOYMENT: Deployment,
    Kind.INFERENCE_SERVICE: create_namespaced_resource(
        "serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices"
    ),
}
HTTP_ROUTES: Final = create_namespaced_resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
ANSWER_TIMEOUT: Final = 60.0  # seconds for one answer of a pod
LARGEST_ANSWER: Final = 64 << 20  # bytes
HTTP_PORT: Final = 8080  # of a container that names no port


class ConflictError(UnavailableError):
    """Another caller changed the object meanwhile: read it again."""


ERRORS: Final[Mapping[int, type[LifecycleError]]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: NotAuthorisedError,
    HTTPStatus.FORBIDDEN: NotAuthorisedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObjects:
    """The objects of one namespace. Methods raise LifecycleError."""

    client: Client
    namespace: str

    def workload(self, target: Target) -> Json:
        with _errors(str(target)):
            return _json(self.client.get(RESOURCES[target.kind], target.name, namespace=self.namespace))

    def patch(self, target: Target, workload: Workload, state: State, version: str) -> None:
        """Bring the workload into the state, if its resourceVersion is `version` still.

        Raises ConflictError if it is another, UnclearError if no answer tells whether the change was made.
        """
        body = workload.patch_to(state) | {"metadata": {"resourceVersion": version}}
        with _errors(str(target), changes=True):
            self.client.patch(
                RESOURCES[target.kind], target.name, body, namespace=self.namespace, patch_type=workload.patch_type
            )

    def deployment(self, name: str) -> Json | None:
        """Return the Deployment; None if it does not exist."""
        try:
            with _errors(f"deployment/{name}"):
                return _json(self.client.get(Deployment, name, namespace=self.namespace))
        except NotFoundError:
            return None

    def pods_of(self, deployment: Json) -> list[Json]:
        labels = deployment["spec"]["selector"].get("matchLabels", {})
        with _errors("the pods"):
            pods = [_json(pod) for pod in self.client.list(Pod, namespace=self.namespace, labels=labels)]
        return [pod for pod in pods if is_selected(deployment, pod)]  # a list asks for labels, not for expressions

    def weighted_routes(self, service: str) -> list[str]:
        """Return the names of the HTTPRoutes that send a share of the requests to this Service."""
        try:
            with _errors("the HTTPRoutes"):
                routes = [_json(route) for route in self.client.list(HTTP_ROUTES, namespace=self.namespace)]
        except (NotFoundError, NotAuthorisedError):
            return []
        return [route["metadata"]["name"] for route in routes if _sends_to(route, service)]

    def lease(self, name: str) -> Json | None:
        """Return the Lease; None if it does not exist."""
        try:
            with _errors(f"lease/{name}"):
                return _json(self.client.get(Lease, name, namespace=self.namespace))
        except NotFoundError:
            return None

    def create_lease(self, document: Json) -> Json:
        with _errors("the Lease of the rollout", changes=True):
            return _json(self.client.create(_lease(document), namespace=self.namespace))

    def replace_lease(self, document: Json) -> Json:
        """Write the Lease, if it is unchanged since it was read. Raises ConflictError."""
        with _errors("the Lease of the rollout", changes=True):
            return _json(self.client.replace(_lease(document)))


class PodProxy:
    """The HTTP server of one pod, by the API server's proxy. It needs the right to get and create `pods/proxy`.

    The API server keeps the `Authorization` header for itself, so a pod that wants a token cannot be asked this way.
    """

    def __init__(self, client: Client, namespace: str, pod: Json) -> None:
        name = f"http:{pod['metadata']['name']}:{_port(pod)}"
        self.title = f"pod {pod['metadata']['name']}"
        self._prefix = f"/api/v1/namespaces/{namespace}/pods/{name}/proxy"
        self._client = client_adapter.Client(
            client.config, client_adapter.ConnectionParams(timeout=httpx2.Timeout(ANSWER_TIMEOUT))
        )

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """Return the answer. Raises UnavailableError if none comes, NotAuthorisedError if the API server refuses."""
        status, document = asked(self._client, self.title, method, self._prefix + path, body)
        if isinstance(document, dict) and document.get("kind") == "Status" and document.get("apiVersion") == "v1":
            kind = ERRORS.get(status, UnavailableError)
            raise kind(f"the API server does not reach {self.title}: {printable(str(document.get('message')))}")
        return status, document

    def close(self) -> None:
        self._client.close()


def asked(client: httpx2.Client, title: str, method: str, url: str, body: Any) -> Reply:
    """Send one request, and return the answer: code of the model's author may have written it.

    Raises UnavailableError if none comes, or one of more than LARGEST_ANSWER bytes.
    """
    try:
        with client.stream(method, url, **({} if body is None else {"json": body})) as answer:
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > LARGEST_ANSWER:
                    raise UnavailableError(f"{title} answers with more than {LARGEST_ANSWER >> 20} MiB")
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise UnavailableError(f"{title} does not answer: {type(error).__name__}") from error
    try:
        return answer.status_code, json.loads(content)
    except (ValueError, RecursionError):
        return answer.status_code, None


def _lease(document: Json) -> Any:
    return Lease.from_dict(document)


def _json(found: Any) -> Json:
    document: Json = found.to_dict()
    return document


@contextmanager
def _errors(title: str, *, changes: bool = False) -> Iterator[None]:
    """Raise a LifecycleError for a request that failed. `changes`: it may have had an effect."""
    try:
        yield
    except ApiError as error:
        kind = ERRORS.get(error.status.code or 0)
        if kind is None:
            kind = UnclearError if changes else UnavailableError
        raise kind(f"{title}: {error.status.message}") from error
    except httpx2.HTTPStatusError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"{title}: the cluster has no such kind of object") from error
        raise (UnclearError if changes else UnavailableError)(f"{title}: {error}") from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise UnavailableError(f"the cluster does not answer: {error}") from error
    except httpx2.TransportError as error:
        raise (UnclearError if changes else UnavailableError)(f"the cluster does not answer: {error}") from error


def _port(pod: Json) -> int:
    """Return the port of HTTP: the one with such a name > 8080 > the first."""
    ports: Sequence[Json] = [port for one in pod["spec"]["containers"] for port in one.get("ports", [])]
    named = (port["containerPort"] for port in ports if port.get("name") in {"http", "http1"})
    numbers = [port["containerPort"] for port in ports]
    return int(next(named, HTTP_PORT if HTTP_PORT in numbers or not numbers else numbers[0]))


def _sends_to(route: Json, service: str) -> bool:
    return any(
        backend.get("name") == service and backend.get("weight", 1) > 0
        for rule in route.get("spec", {}).get("rules", [])
        for backend in rule.get("backendRefs", [])
    )
