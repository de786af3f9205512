"""The init container `mlflow-model-init`: it fetches the model, or verifies that the shared claim holds it."""

from collections.abc import Mapping
from typing import Any, Final

from model_contract.names import (
    INIT_CONTAINER,
    OBJECT_STORE_CREDENTIALS,
    OBJECT_STORE_VOLUME,
    OBJECT_STORES,
    PRESIGNED_HOSTS,
    PROJECT_ID_LABEL,
    PROJECT_ID_VARIABLE,
    SCRATCH_VOLUME,
    TOKEN_FILE,
    TOKEN_KEY,
    TOKEN_MOUNT,
    TOKEN_VOLUME,
    TRACKING_URI,
)
from webhook.environment import escaped
from webhook.mutation.ephemeral_storage import storage_bounds
from webhook.mutation.injection import Injection
from webhook.mutation.placement import Placement
from webhook.mutation.resources import container_resources
from webhook.mutation.volumes import AUTHORITIES_FILE, AUTHORITIES_VOLUME, reads_object_stores, store_name
from webhook.pod import text
from webhook.settings import Settings

Json = Mapping[str, Any]

COMMAND: Final = "model-api-delivery"
STORE_MOUNT: Final = "/store"
SCRATCH_MOUNT: Final = "/tmp"  # noqa: S108  a volume of its own in the init container
AUTHORITIES_MOUNT: Final = "/run/model-api-ca"
OBJECT_STORE_MOUNT: Final = "/run/model-api-object-store"
API_TOKEN_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
IMAGE_USER: Final = 65532  # USER of the delivery image


def init_container(injection: Injection, placement: Placement) -> Json:
    settings = injection.settings
    container: dict[str, Any] = {
        "name": INIT_CONTAINER,
        "image": settings.delivery_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [COMMAND],
        "args": [escaped(argument) for argument in _arguments(injection)],
        "env": _environment(injection),
        "securityContext": _security_context(injection, placement),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(injection),
    }
    if resources := _resources(injection, placement):
        container["resources"] = resources
    return container


def _resources(injection: Injection, placement: Placement) -> Json:
    pod = injection.pod
    storage = storage_bounds(pod)
    bounds = container_resources(pod, placement.index, injection.annotations, injection.settings)
    if not bounds or not storage:
        return bounds or storage
    return {kind: {**bounds[kind], **storage[kind]} for kind in bounds}


def _arguments(injection: Injection) -> list[str]:
    """Return the arguments. Values follow a `=`, because the name of a model may begin with `-`."""
    settings = injection.settings
    arguments = ["fetch" if settings.delivery == "fetch" else "verify", f"--store={STORE_MOUNT}"]
    if model := injection.targets.model_variables.model:
        arguments += [
            f"--run-id={model.run_id}",
            f"--owner={model.owner}",
            f"--model={model.name}",
            f"--version={model.version}",
        ]
    if settings.delivery == "fetch":
        arguments.append(f"--max-bytes={injection.store_size.text}")
        if deadline := _deadline(injection):
            arguments.append(f"--deadline={deadline}")
    return arguments


def _deadline(injection: Injection) -> int | None:
    """Return the deadline in seconds: the annotation, up to the admin's maximum > the setting."""
    if injection.annotations.deadline:
        return min(injection.annotations.deadline, injection.settings.fetch_deadline_maximum)
    return injection.settings.fetch_deadline


def _environment(injection: Injection) -> list[Json]:
    settings, model_variables = injection.settings, injection.targets.model_variables
    literals = {"TMPDIR": SCRATCH_MOUNT, "HOME": SCRATCH_MOUNT}
    if settings.delivery == "fetch":
        literals = {TRACKING_URI: settings.tracking_uri, **_token_file(injection), **literals, **_network(settings)}
    entries: list[Json] = [{"name": name, "value": escaped(value)} for name, value in literals.items()]
    return [*entries, *_project(injection), *(() if model_variables.model else model_variables.entries())]


def _project(injection: Injection) -> list[Json]:
    """Return the variable with the pod's project, which a store that projects share records for each model."""
    if not text(injection.pod.labels, PROJECT_ID_LABEL):
        return []
    return [
        {
            "name": PROJECT_ID_VARIABLE,
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{PROJECT_ID_LABEL}']"}},
        }
    ]


def _token_file(injection: Injection) -> dict[str, str]:
    return {TOKEN_FILE: f"{TOKEN_MOUNT}/{TOKEN_KEY}"} if injection.has_token else {}


def _network(settings: Settings) -> dict[str, str]:
    wanted = {
        "SSL_CERT_FILE": f"{AUTHORITIES_MOUNT}/{AUTHORITIES_FILE}" if settings.ca_config_map else None,
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy,
        "NO_PROXY": settings.no_proxy,
        PRESIGNED_HOSTS: settings.presigned_hosts,
        OBJECT_STORES: settings.object_stores,
        OBJECT_STORE_CREDENTIALS: OBJECT_STORE_MOUNT if _has_store_secret(settings) else None,
    }
    return {name: value for name, value in wanted.items() if value}


def _has_store_secret(settings: Settings) -> bool:
    return reads_object_stores(settings) and settings.object_store_secret is not None


def _security_context(injection: Injection, placement: Placement) -> Json:
    """Return what Pod Security `restricted` demands, and a uid if mesh, admin or a pod that runs as root need one."""
    user = placement.run_as_user or injection.settings.run_as_user
    if not user and injection.pod.security_context.get("runAsUser") == 0:
        user = IMAGE_USER
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **({"runAsUser": user} if user else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _mounts(injection: Injection) -> list[Json]:
    settings, store = injection.settings, store_name(injection.pod, injection.settings)
    mounts: list[Json] = [{"name": store, "mountPath": STORE_MOUNT}]
    if settings.delivery == "volume":
        sub_path = {"subPath": settings.claim_prefix} if settings.claim_prefix else {}
        mounts = [{"name": store, "mountPath": STORE_MOUNT, **sub_path, "readOnly": True}]
    if injection.has_token:
        mounts.append({"name": TOKEN_VOLUME, "mountPath": TOKEN_MOUNT, "readOnly": True})
    if settings.delivery == "fetch" and settings.ca_config_map:
        mounts.append({"name": AUTHORITIES_VOLUME, "mountPath": AUTHORITIES_MOUNT, "readOnly": True})
    if _has_store_secret(settings):
        mounts.append({"name": OBJECT_STORE_VOLUME, "mountPath": OBJECT_STORE_MOUNT, "readOnly": True})
    return [
        *mounts,
        {"name": SCRATCH_VOLUME, "mountPath": SCRATCH_MOUNT},
        # An empty folder at the path of a ServiceAccount's token: the API server does not mount the token over it.
        {"name": SCRATCH_VOLUME, "mountPath": API_TOKEN_MOUNT, "subPath": "none", "readOnly": True},
    ]
