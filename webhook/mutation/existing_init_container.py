"""The check of an init container `mlflow-model-init` that the pod has already.

Other controllers may change it: mirrors rewrite images, the API server may force the pull policy, a LimitRange and the
autoscaler set resources, OpenShift sets a user, and many add variables and mounts. A change that makes the container do
something else, or gives it more rights, is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from model_contract.names import INIT_CONTAINER, PROJECT_ID_VARIABLE, TOKEN_MOUNT
from webhook.decision import RefusalError
from webhook.mutation.comparison import covers, same_image, same_quantity
from webhook.mutation.init_container import STORE_MOUNT
from webhook.mutation.mounts import normalized, path_conflict
from webhook.pod import Container, Field, Pod, mapping
from webhook.reasons import Reason

Json = Mapping[str, Any]

# Variables that load other code into the delivery, or that configure it.
CONTROLLING_VARIABLES: Final = re.compile(r"LD_.*|PYTHON.*|GCONV_PATH|PATH|MLFLOW_TRACKING_.*|MODEL_API_.*")
# Paths that no other mount may hide: the store and the token, the delivery's program (Dockerfile.runtime), Python, and
# the system's libraries.
PROTECTED_PATHS: Final = (
    STORE_MOUNT,
    TOKEN_MOUNT,
    "/app",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/bin",
    "/usr/lib",
    "/bin",
    "/lib",
    "/lib64",
    "/etc/ld.so.preload",
)
MAX_BYTES: Final = "--max-bytes="
SAFE_PROC_MOUNT: Final = (None, "Default")


def check_name_is_free(pod: Pod) -> None:
    """Raise RefusalError if a container other than one init container has the name `mlflow-model-init`."""
    named = [container.field for container in pod.all_containers if container.name == INIT_CONTAINER]
    if named not in ([], [Field.INIT_CONTAINERS]):
        raise RefusalError(
            Reason.NAME_CONFLICT, f"the pod has a container {INIT_CONTAINER} of its own; give it another name"
        )


def check_existing(present: Container, wanted: Json) -> None:
    """Raise RefusalError if the init container is not the webhook's, or if a part of it was changed."""
    if present.raw.get("command") != wanted["command"]:
        raise RefusalError(
            Reason.NAME_CONFLICT, f"the pod has an init container {INIT_CONTAINER} of its own; give it another name"
        )
    if found := list(differences(present, wanted)):
        raise RefusalError(
            Reason.CHANGED_PART,
            f"init container {INIT_CONTAINER} is not as the webhook writes it: {', '.join(found)}"
            f" differ{'s' if len(found) == 1 else ''}; remove it from the pod, or find out who changes it",
        )


def differences(present: Container, wanted: Json) -> Iterator[str]:
    """Yield the name of each field that differs."""
    if not _same_arguments(present.raw.get("args"), wanted["args"]):
        yield "args"
    if not same_image(present.raw.get("image"), wanted["image"]):
        yield "image"
    yield from _environment(present, wanted)
    yield from _security_context(mapping(present.raw, "securityContext"), wanted["securityContext"])
    yield from _mounts(present, wanted["volumeMounts"])
    if present.native_sidecar:
        yield "restartPolicy"


def _same_arguments(present: object, wanted: Sequence[str]) -> bool:
    """Return True if the arguments are equal; `--max-bytes` may be written in another unit."""
    if not isinstance(present, list) or len(present) != len(wanted):
        return False
    return all(there == ours or _same_size(there, ours) for there, ours in zip(present, wanted, strict=True))


def _same_size(there: object, ours: str) -> bool:
    if not isinstance(there, str) or not ours.startswith(MAX_BYTES) or not there.startswith(MAX_BYTES):
        return False
    return same_quantity(there.removeprefix(MAX_BYTES), ours.removeprefix(MAX_BYTES))


def _environment(present: Container, wanted: Json) -> Iterator[str]:
    """Yield the first variable that was changed, or added and dangerous. The last entry of a name wins."""
    if present.env_from:
        yield "envFrom"
    there = {entry["name"]: entry for entry in present.env}
    ours = {entry["name"]: entry for entry in wanted["env"]}
    if PROJECT_ID_VARIABLE not in there:
        ours.pop(PROJECT_ID_VARIABLE, None)  # `patch` adds it if it is missing
    changed = [name for name, entry in ours.items() if name not in there or not covers(there[name], entry)]
    added = [name for name in there if name not in ours and CONTROLLING_VARIABLES.fullmatch(name)]
    if changed or added:
        yield f"env {(changed + added)[0][:63]}"


def _mounts(present: Container, wanted: Sequence[Json]) -> Iterator[str]:
    """Yield the first mount that is missing, or that hides the program or a mount of the webhook."""
    lost = [mount["mountPath"] for mount in wanted if not any(covers(there, mount) for there in present.mounts)]
    others = [there["mountPath"] for there in present.mounts if not any(covers(there, mount) for mount in wanted)]
    hiding = [path for path in others if any(path_conflict(normalized(path), kept) for kept in PROTECTED_PATHS)]
    if lost or hiding:
        yield f"volumeMounts of {(lost + hiding)[0][:255]}"


def _security_context(there: Json, wanted: Json) -> Iterator[str]:
    """Yield the fields that grant more rights. The user may be another one, but not root."""
    lost = [field for field, value in wanted.items() if field != "runAsUser" and not covers(there.get(field), value)]
    added = [
        *(["capabilities"] if mapping(there, "capabilities").get("add") else []),
        *(["procMount"] if there.get("procMount") not in SAFE_PROC_MOUNT else []),
        *(["appArmorProfile"] if mapping(there, "appArmorProfile").get("type") == "Unconfined" else []),
        *(["runAsUser"] if there.get("runAsUser") == 0 else []),
    ]
    yield from (f"securityContext.{field}" for field in dict.fromkeys(lost + added))
