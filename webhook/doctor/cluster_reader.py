"""The cluster as JSON: what the checks read, and the two things that they ask it to answer."""

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
DEPLOYMENTS: Final = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
PODS: Final = create_namespaced_resource("", "v1", "Pod", "pods")
SECRETS: Final = create_namespaced_resource("", "v1", "Secret", "secrets")
CONFIG_MAPS: Final = create_namespaced_resource("", "v1", "ConfigMap", "configmaps")
CLAIMS: Final = create_namespaced_resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
STORAGE_CLASSES: Final = create_global_resource("storage.k8s.io", "v1", "StorageClass", "storageclasses")
ENDPOINTS: Final = create_namespaced_resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")


class ClusterReader:
    """Reads with the rights of whoever runs the command. Raises ApiError where they do not do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, kind: Any, name: str, namespace: str | None = None) -> Json | None:
        """None where there is no such object."""
        try:
            return dict(
                self._client.get(kind, name, namespace=namespace) if namespace else self._client.get(kind, name)
            )
        except ApiError as error:
            if error.status.code == NOT_FOUND:
                return None
            raise

    def list(self, kind: Any, namespace: str | None = None, labels: dict[str, Any] | None = None) -> Iterator[Json]:
        """Of one namespace, or of all."""
        of_cluster = kind in {NAMESPACES, STORAGE_CLASSES}
        found = (
            self._client.list(kind)
            if of_cluster
            else self._client.list(kind, namespace=namespace or "*", labels=labels)
        )
        return map(dict, found)

    def dry_run(self, pod: Json) -> Json:
        """The pod as it would be created, after every webhook and policy. Raises ApiError where it is denied."""
        return dict(self._client.create(PODS.from_dict(pod), dry_run=True))

    def review_of_self(self) -> Json:
        """Who is asking; the API server's clock stands on it."""
        return dict(self._client.create(SELF.from_dict({"metadata": {}})))
