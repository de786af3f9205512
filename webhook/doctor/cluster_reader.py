"""Objects of the cluster as JSON, and the two requests by which the checks test it: a dry run and a self review."""

from collections.abc import Iterator
from typing import Any, Final

from lightkube import Client
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

Json = dict[str, Any]

NOT_FOUND: Final = 404
ADMISSION: Final = "admissionregistration.k8s.io"

NAMESPACES: Final = create_global_resource("", "v1", "Namespace", "namespaces")
REGISTRATIONS: Final = create_global_resource(
    ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"
)
POLICIES: Final = create_global_resource(ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
BINDINGS: Final = create_global_resource(
    ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"
)
SELF: Final = create_global_resource("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews")
NODES: Final = create_global_resource("", "v1", "Node", "nodes")
DEPLOYMENTS: Final = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
PODS: Final = create_namespaced_resource("", "v1", "Pod", "pods")
SECRETS: Final = create_namespaced_resource("", "v1", "Secret", "secrets")
CONFIG_MAPS: Final = create_namespaced_resource("", "v1", "ConfigMap", "configmaps")
CLAIMS: Final = create_namespaced_resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
STORAGE_CLASSES: Final = create_global_resource("storage.k8s.io", "v1", "StorageClass", "storageclasses")
ENDPOINTS: Final = create_namespaced_resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")


class ClusterReader:
    """Reads with the rights of the person who runs the command. Raises ApiError if they do not allow it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, kind: Any, name: str, namespace: str | None = None) -> Json | None:
        """Return the object; None if it does not exist."""
        try:
            return dict(
                self._client.get(kind, name, namespace=namespace) if namespace else self._client.get(kind, name)
            )
        except ApiError as error:
            if error.status.code == NOT_FOUND:
                return None
            raise

    def list(self, kind: Any, namespace: str | None = None, labels: dict[str, Any] | None = None) -> Iterator[Json]:
        """Return the objects of one namespace, or of all if it is None."""
        of_cluster = kind in {NAMESPACES, NODES, STORAGE_CLASSES}
        found = (
            self._client.list(kind)
            if of_cluster
            else self._client.list(kind, namespace=namespace or "*", labels=labels)
        )
        return map(dict, found)

    def dry_run(self, pod: Json) -> Json:
        """Return the pod as every webhook and policy would admit it. Raises ApiError if it is denied."""
        return dict(self._client.create(PODS.from_dict(pod), dry_run=True))

    def review_of_self(self) -> Json:
        """Return a SelfSubjectReview, which carries the time of the API server."""
        return dict(self._client.create(SELF.from_dict({"metadata": {}})))
