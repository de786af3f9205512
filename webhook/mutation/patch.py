"""The JSON Patch that gives a pod its model: it only adds parts that are missing, in a fixed order."""

from collections.abc import Mapping, Sequence
from typing import Any

from model_contract.layout import model_path
from model_contract.names import ARTIFACTS_PATH, PROJECT_ID_VARIABLE, STATUS_ANNOTATION
from webhook.mutation.existing_init_container import check_existing
from webhook.mutation.init_container import init_container
from webhook.mutation.injection import Injection
from webhook.mutation.mounts import missing_mounts
from webhook.mutation.placement import Placement, find_init_container
from webhook.mutation.volumes import eviction_annotation, missing_volumes, wanted_volumes
from webhook.pod import Container, Pod

Json = Mapping[str, Any]


def patch_operations(injection: Injection, placement: Placement | None, status: str) -> list[Json]:
    """Return the patch; without a placement there is no init container.

    Raises RefusalError if a part of the pod conflicts with a part of the webhook.
    """
    unmounted = [(target, missing_mounts(injection, target)) for target in injection.targets.containers]
    pod = injection.pod
    volumes = wanted_volumes(injection)
    return [
        *annotate(pod, {STATUS_ANNOTATION: status, **eviction_annotation(pod, volumes)}),
        *append(pod.spec, "volumes", "/spec/volumes", missing_volumes(pod, volumes)),
        # Before the init container is added, which moves those behind it.
        *(operation for target, mounts in unmounted for operation in _mount(target, mounts)),
        *(operation for target in injection.targets.containers for operation in _path_variable(injection, target)),
        *(_init_container(injection, placement) if placement else ()),
        *append(pod.spec, "imagePullSecrets", "/spec/imagePullSecrets", _missing_pull_secrets(injection)),
    ]


def annotate(pod: Pod, annotations: Mapping[str, str]) -> list[Json]:
    """Add annotations to the pod. The status is the only trace for a person who did not create the pod by hand."""
    missing = {key: value for key, value in annotations.items() if pod.annotations.get(key) != value}
    if missing and pod.metadata.get("annotations") is None:
        return [add("/metadata/annotations", missing)]
    return [
        add(f"/metadata/annotations/{key.replace('~', '~0').replace('/', '~1')}", value)
        for key, value in missing.items()
    ]


def append(parent: Json, key: str, path: str, items: Sequence[Json]) -> list[Json]:
    """Add items at the end of a list that may be absent."""
    if parent.get(key) is None:
        return [add(path, list(items))] if items else []
    return [add(f"{path}/-", item) for item in items]


def add(path: str, value: object) -> Json:
    return {"op": "add", "path": path, "value": value}


def _init_container(injection: Injection, placement: Placement) -> list[Json]:
    wanted = init_container(injection, placement)
    if ours := find_init_container(injection.pod):
        check_existing(ours, wanted)
        return [*_missing_user(ours, placement), *_missing_project(ours, wanted)]
    if injection.pod.spec.get("initContainers") is None:
        return [add("/spec/initContainers", [wanted])]
    return [add(f"/spec/initContainers/{placement.index}", wanted)]


def _missing_user(ours: Container, placement: Placement) -> list[Json]:
    """Add the user if a mesh was injected after the first call: it captures the traffic of every user but its own."""
    context = ours.raw.get("securityContext")
    if not placement.run_as_user or not isinstance(context, dict) or context.get("runAsUser") is not None:
        return []
    return [add(f"{ours.pointer}/securityContext/runAsUser", placement.run_as_user)]


def _missing_project(ours: Container, wanted: Json) -> list[Json]:
    """Add the project if a webhook of an earlier version, which does not set it, answered the first call."""
    if any(entry["name"] == PROJECT_ID_VARIABLE for entry in ours.env):
        return []
    return [add(f"{ours.pointer}/env/-", entry) for entry in wanted["env"] if entry["name"] == PROJECT_ID_VARIABLE]


def _mount(target: Container, mounts: Sequence[Json]) -> list[Json]:
    return append(target.raw, "volumeMounts", f"{target.pointer}/volumeMounts", mounts)


def _path_variable(injection: Injection, target: Container) -> list[Json]:
    location = injection.targets.model_variables.owner_and_run_id
    if (
        not injection.settings.set_artifacts_path_env
        or not location
        or any(entry["name"] == ARTIFACTS_PATH for entry in target.env)
    ):
        return []
    return append(
        target.raw, "env", f"{target.pointer}/env", [{"name": ARTIFACTS_PATH, "value": model_path(*location)}]
    )


def _missing_pull_secrets(injection: Injection) -> list[Json]:
    present = [secret.get("name") for secret in injection.pod.image_pull_secrets]  # not a set: it may hold anything
    return [{"name": name} for name in injection.settings.image_pull_secrets if name not in present]
