"""Whether the init container of our name, if a pod has one, is the one that the webhook writes (B16).

Others have good reasons to change a part of it: mirrors rewrite images, the API server may force the pull policy, a
LimitRange and the autoscaler give resources, OpenShift gives a user, and many add variables and mounts of their own.
What would make it do something else, or give it rights that it has not, is not accepted.
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

# Variables that load other code into our program, or that it takes its orders from.
CONTROLLING_VARIABLES: Final = re.compile(r"LD_.*|PYTHON.*|GCONV_PATH|PATH|MLFLOW_TRACKING_.*|MODEL_API_.*")
# What no other mount may hide: the store and the token, our program (Dockerfile.runtime), Python, and the system's
# libraries.
NOT_HIDDEN: Final = (
    *(
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
    ),
    "/etc/ld.so.preload",
)
MAX_BYTES: Final = "--max-bytes="
SAFE_PROC_MOUNT: Final = (None, "Default")


def check_name_is_free(pod: Pod) -> None:
    """Raises RefusalError if another container has the name of ours: a name is given once in a pod."""
    named = [container.field for container in pod.all_containers if container.name == INIT_CONTAINER]
    if named not in ([], [Field.INIT_CONTAINERS]):
        raise RefusalError(
            Reason.NAME_CONFLICT, f"the pod has a container {INIT_CONTAINER} of its own; give it another name"
        )


def check_existing(present: Container, wanted: Json) -> None:
    """Raises RefusalError if the init container is another one, or is ours with something else in it."""
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
    """The fields in which it differs, each by its name."""
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
    """Whether they are equal; a size may be written in another unit, as the API server does it with the volume's."""
    if not isinstance(present, list) or len(present) != len(wanted):
        return False
    return all(there == ours or _same_size(there, ours) for there, ours in zip(present, wanted, strict=True))


def _same_size(there: object, ours: str) -> bool:
    if not isinstance(there, str) or not ours.startswith(MAX_BYTES) or not there.startswith(MAX_BYTES):
        return False
    return same_quantity(there.removeprefix(MAX_BYTES), ours.removeprefix(MAX_BYTES))


def _environment(present: Container, wanted: Json) -> Iterator[str]:
    """The last entry of a name wins, so that one behind ours would replace it."""
    if present.env_from:
        yield "envFrom"
    there = {entry["name"]: entry for entry in present.env}
    ours = {entry["name"]: entry for entry in wanted["env"]}
    if PROJECT_ID_VARIABLE not in there:
        ours.pop(PROJECT_ID_VARIABLE, None)  # it is added
    changed = [name for name, entry in ours.items() if name not in there or not covers(there[name], entry)]
    added = [name for name in there if name not in ours and CONTROLLING_VARIABLES.fullmatch(name)]
    if changed or added:
        yield f"env {(changed + added)[0][:63]}"


def _mounts(present: Container, wanted: Sequence[Json]) -> Iterator[str]:
    """Ours must be there, and no other may lie over them or over the program."""
    lost = [mount["mountPath"] for mount in wanted if not any(covers(there, mount) for there in present.mounts)]
    others = [there["mountPath"] for there in present.mounts if not any(covers(there, mount) for mount in wanted)]
    hiding = [path for path in others if any(path_conflict(normalized(path), kept) for kept in NOT_HIDDEN)]
    if lost or hiding:
        yield f"volumeMounts of {(lost + hiding)[0][:255]}"


def _security_context(there: Json, wanted: Json) -> Iterator[str]:
    """The user may be another one, but not root."""
    lost = [field for field, value in wanted.items() if field != "runAsUser" and not covers(there.get(field), value)]
    added = [
        *(["capabilities"] if mapping(there, "capabilities").get("add") else []),
        *(["procMount"] if there.get("procMount") not in SAFE_PROC_MOUNT else []),
        *(["appArmorProfile"] if mapping(there, "appArmorProfile").get("type") == "Unconfined" else []),
        *(["runAsUser"] if there.get("runAsUser") == 0 else []),
    ]
    yield from (f"securityContext.{field}" for field in dict.fromkeys(lost + added))
