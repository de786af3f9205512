"""The mount of the model in a target container, and its conflicts with other mounts."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, Final

from model_contract.layout import (
    ARTIFACTS_ROOT,
    IMAGE_MANIFEST,
    IMAGE_MODEL,
    model_directory,
    model_path,
    run_path,
)
from model_contract.names import PROJECT_ID_LABEL
from webhook.decision import RefusalError
from webhook.injectors import OTHER_INJECTORS
from webhook.model_image import is_of_project
from webhook.mutation.comparison import covers, first_difference
from webhook.mutation.injection import Injection
from webhook.mutation.volumes import image_of, store_name
from webhook.pod import Container, Pod, text
from webhook.reasons import Reason

Json = Mapping[str, Any]

READ_ONLY_VOLUMES: Final = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})  # in every mount


def wanted_mounts(injection: Injection) -> list[Json]:
    """Return the mount of the model at its path, or of the whole store if owner or run id is unknown.

    Of an image there are two: the model stands in the directory of its run, which holds the manifest.
    """
    store = store_name(injection.pod, injection.settings)
    if not (location := injection.targets.model_variables.owner_and_run_id):
        return [{"name": store, "mountPath": ARTIFACTS_ROOT, "readOnly": True}]
    if injection.image:
        return [
            {"name": store, "mountPath": path, "subPath": directory, "readOnly": True}
            for path, directory in ((run_path(*location), IMAGE_MANIFEST), (model_path(*location), IMAGE_MODEL))
        ]
    sub_path = posixpath.join(
        injection.settings.claim_prefix if injection.settings.delivery == "volume" else "", model_directory(*location)
    )
    return [{"name": store, "mountPath": model_path(*location), "subPath": sub_path, "readOnly": True}]


def missing_mounts(injection: Injection, target: Container) -> list[Json]:
    """Return the mounts that are still to be added. Raises RefusalError if another mount conflicts with one."""
    wanted = wanted_mounts(injection)
    missing = [mount for mount in wanted if not any(covers(there, mount) for there in target.mounts)]
    for mount in missing:
        _check_unchanged(mount, target)
    others = [there for there in target.mounts if not any(covers(there, mount) for mount in wanted)]
    _check_apart(others, wanted, target, injection.pod)
    _check_images(injection.pod, target, [*target.mounts, *missing])
    return missing


def _check_images(pod: Pod, target: Container, mounts: Sequence[Json]) -> None:
    """Raise RefusalError if the container mounts an image of another project among the models."""
    project_id = text(pod.labels, PROJECT_ID_LABEL)
    foreign = {
        volume["name"]
        for volume in pod.volumes
        if (reference := image_of(volume)) and not is_of_project(reference, project_id)
    }
    for mount in mounts if foreign else ():
        if mount["name"] in foreign and f"{normalized(mount['mountPath'])}/".startswith(f"{ARTIFACTS_ROOT}/"):
            raise RefusalError(
                Reason.FOREIGN_IMAGE,
                f"container {target.title} mounts volume {mount['name'][:63]} at {mount['mountPath'][:255]}, an image"
                " that is not in a repository of the pod's project",
            )


def _check_apart(others: Sequence[Json], wanted: Sequence[Json], target: Container, pod: Pod) -> None:
    for there in others:
        for path in (mount["mountPath"] for mount in reversed(wanted)):  # that of the model first
            if conflict := path_conflict(normalized(there["mountPath"]), path):
                _refuse_overlap(conflict, there, target, path, pod)


def _check_unchanged(wanted: Json, target: Container) -> None:
    """Raise RefusalError if the container has the mount and another controller changed it."""
    for mount in target.mounts:
        if mount["name"] == wanted["name"] and normalized(mount["mountPath"]) == wanted["mountPath"]:
            field = first_difference({**mount, "mountPath": wanted["mountPath"]}, wanted)
            raise RefusalError(
                Reason.CHANGED_PART,
                f"the mount of volume {wanted['name'][:63]} in container {target.title} is not as the webhook writes"
                f" it: {field} differs; remove it from the pod, or find out who changes it",
            )


def path_conflict(other: str, ours: str) -> Reason | None:
    """Return the reason why the mount path `other` conflicts with `ours`; None if they are apart."""
    if other == ours:
        return Reason.MOUNT_PATH_CONFLICT
    if ours.startswith(other.rstrip("/") + "/"):
        return Reason.READ_ONLY_PARENT_MOUNT
    return Reason.NESTED_MOUNT if other.startswith(ours + "/") else None


def normalized(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def volumes_of_other_injectors(pod: Pod) -> frozenset[str]:
    return frozenset(
        mount["name"]
        for container in pod.init_containers
        if container.name in OTHER_INJECTORS
        for mount in container.mounts
    )


def _refuse_overlap(conflict: Reason, mount: Json, target: Container, path: str, pod: Pod) -> None:
    where = f"container {target.title} mounts volume {mount['name'][:63]} at {mount['mountPath'][:255]}"
    if mount["name"] in volumes_of_other_injectors(pod):
        raise RefusalError(
            Reason.ALREADY_PROVIDED,
            f"another injector brings a model to container {target.title}; the webhook adds nothing",
        )
    if conflict is Reason.MOUNT_PATH_CONFLICT:
        raise RefusalError(conflict, f"{where}, where its model belongs; mount it at another path")
    if conflict is Reason.NESTED_MOUNT:
        raise RefusalError(conflict, f"{where}, inside its model at {path}, which is read-only; mount it outside")
    if is_read_only(mount, pod):
        raise RefusalError(
            conflict,
            f"{where} read-only, so that its model cannot be mounted at {path}; mount it elsewhere, or writable",
        )


def is_read_only(mount: Json, pod: Pod) -> bool:
    """Return True if the kubelet mounts it read-only, because the mount or its volume says so."""
    volume = next((volume for volume in pod.volumes if volume["name"] == mount["name"]), {})
    sources = {kind: source for kind, source in volume.items() if isinstance(source, dict)}
    return (
        mount.get("readOnly") is True
        or not READ_ONLY_VOLUMES.isdisjoint(sources)
        or any(source.get("readOnly") is True for source in sources.values())
    )
