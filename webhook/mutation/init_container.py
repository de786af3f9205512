"""The init container `mlflow-model-init`: it fetches the model, or verifies that the shared claim holds it."""

from collections.abc import Mapping
from typing import Any, Final

from model_contract.names import (
    INIT_CONTAINER,
    SCRATCH_VOLUME,
    TOKEN_FILE,
    TOKEN_KEY,
    TOKEN_MOUNT,
    TOKEN_VOLUME,
    TRACKING_URI,
)
from webhook.decision import RefusalError
from webhook.mutation.desired import covers_each
from webhook.mutation.injection import Injection
from webhook.mutation.placement import Placement
from webhook.mutation.resources import container_resources
from webhook.mutation.volumes import AUTHORITIES_FILE, AUTHORITIES_VOLUME, store_name
from webhook.pod import Container
from webhook.reasons import Reason
from webhook.settings import Settings
from webhook.variables import escaped

Json = Mapping[str, Any]

COMMAND: Final = "model-api-delivery"
STORE_MOUNT: Final = "/store"
SCRATCH_MOUNT: Final = "/tmp"  # noqa: S108  a volume of its own in the init container
AUTHORITIES_MOUNT: Final = "/run/model-api-ca"
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
    if resources := container_resources(injection.pod, injection.wishes, settings):
        container["resources"] = resources
    return container


def check_present(present: Container, wanted: Json) -> None:
    """Raises RefusalError where the init container that has our name is not ours (B16).

    Only what makes it ours is compared. Others have good reasons to change the rest of what we wrote: mirrors rewrite images, the API
    server may force the pull policy, and resources and user would be chosen differently now that others have added their containers.
    """
    same = all(present.raw.get(part) == wanted[part] for part in ("command", "args"))
    if not (same and covers_each(present.env, wanted["env"]) and covers_each(present.mounts, wanted["volumeMounts"])):
        raise RefusalError(Reason.NAME_CONFLICT, f"the pod has an init container {INIT_CONTAINER} of its own; give it another name")


def _arguments(injection: Injection) -> list[str]:
    """Values follow a `=`, because the name of a model may begin with `-`."""
    settings = injection.settings
    arguments = ["fetch" if settings.delivery == "fetch" else "verify", f"--store={STORE_MOUNT}"]
    if model := injection.targets.demand.model:
        arguments += [f"--run-id={model.run_id}", f"--owner={model.owner}", f"--model={model.name}", f"--version={model.version}"]
    if settings.delivery == "fetch":
        arguments.append(f"--max-bytes={settings.store_size.text}")
    return arguments


def _environment(injection: Injection) -> list[Json]:
    settings, demand = injection.settings, injection.targets.demand
    literals = {"TMPDIR": SCRATCH_MOUNT, "HOME": SCRATCH_MOUNT}
    if settings.delivery == "fetch":
        literals = {TRACKING_URI: settings.tracking_uri, **_token_file(injection), **literals, **_network(settings)}
    entries: list[Json] = [{"name": name, "value": escaped(value)} for name, value in literals.items()]
    return entries if demand.model else entries + demand.entries()


def _token_file(injection: Injection) -> dict[str, str]:
    return {TOKEN_FILE: f"{TOKEN_MOUNT}/{TOKEN_KEY}"} if injection.project_id else {}


def _network(settings: Settings) -> dict[str, str]:
    wanted = {
        "SSL_CERT_FILE": f"{AUTHORITIES_MOUNT}/{AUTHORITIES_FILE}" if settings.ca_config_map else None,
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy,
        "NO_PROXY": settings.no_proxy,
    }
    return {name: value for name, value in wanted.items() if value}


def _security_context(injection: Injection, placement: Placement) -> Json:
    """What Pod Security `restricted` asks for. The uid is the image's, unless the mesh, the admin or a pod that says root needs one."""
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
    if injection.project_id:
        mounts.append({"name": TOKEN_VOLUME, "mountPath": TOKEN_MOUNT, "readOnly": True})
    if settings.delivery == "fetch" and settings.ca_config_map:
        mounts.append({"name": AUTHORITIES_VOLUME, "mountPath": AUTHORITIES_MOUNT, "readOnly": True})
    return [
        *mounts,
        {"name": SCRATCH_VOLUME, "mountPath": SCRATCH_MOUNT},
        # An empty folder where a ServiceAccount's token would be: the API server leaves alone what is mounted there already.
        {"name": SCRATCH_VOLUME, "mountPath": API_TOKEN_MOUNT, "subPath": "none", "readOnly": True},
    ]
