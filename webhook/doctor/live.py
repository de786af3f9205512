"""An object of the cluster for `explain`: itself, its namespace, and the settings of the webhook there."""

from typing import Any, Final

from lightkube.generic_resource import create_namespaced_resource

from model_contract.names import PLATFORM_NAMESPACE
from webhook.doctor.installation import Installation
from webhook.doctor.view import NAMESPACES, View
from webhook.settings import Settings

GROUPS: Final = {
    "Pod": "",
    "ReplicationController": "",
    "Deployment": "apps",
    "ReplicaSet": "apps",
    "StatefulSet": "apps",
    "DaemonSet": "apps",
    "Job": "batch",
    "CronJob": "batch",
}
KINDS: Final = {kind.lower(): kind for kind in GROUPS}


class NoWorkloadError(Exception):
    """What was named is nothing that makes pods, or is not there."""


def read(view: View, named: str, namespace: str) -> tuple[list[dict[str, Any]], Settings]:
    """`named` is such as "pod/x" or "deployment/x". Raises NoWorkloadError, SettingError, ApiError."""
    word, _, name = named.partition("/")
    kind = KINDS.get(word.lower().removesuffix("s"))
    if not kind or not name:
        raise NoWorkloadError(f"{named} is not one of {', '.join(f'{known}/NAME' for known in KINDS)}")
    resource = create_namespaced_resource(GROUPS[kind], "v1", kind, f"{kind.lower()}s")
    found, place = view.get(resource, name, namespace), view.get(NAMESPACES, namespace)
    if found is None or place is None:
        raise NoWorkloadError(f"there is no {named} in namespace {namespace}")
    settings = Settings.from_mapping(Installation(view=view, namespace=PLATFORM_NAMESPACE).variables)
    # An object that is read alone says its kind, but not in every version of the API.
    return [{"apiVersion": "v1", "kind": "Namespace", **place}, {**found, "kind": kind}], settings
