"""Every reason of a decision: its code, its rule, its outcome, and what to do about it.

To find the code that implements a rule, search for the reason's name. `rule` is an id such as "B8" that `explain`
prints; docs/reference/admission.md lists every id with its codes.
"""

from enum import StrEnum
from http import HTTPStatus
from typing import Final

from model_contract import names

OK: Final = HTTPStatus.OK.value
CONFLICT: Final = HTTPStatus.CONFLICT.value
INVALID: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
VARIABLES: Final = ", ".join(names.MODEL_VARIABLES)


class Outcome(StrEnum):
    """The four outcomes of a review; the value is the metric's label."""

    INJECTED = "injected"  # the pod gets its model
    UNCHANGED = "unchanged"  # the pod wants no model, or has everything already
    SKIPPED = "skipped"  # the pod seems to want a model and starts without one; a warning says why
    DENIED = "denied"  # what the pod asks for is wrong


class Reason(StrEnum):
    """A code and its rule. `status` is the HTTP code of a denial, and 200 if the pod is allowed."""

    rule: str
    outcome: Outcome
    status: int
    remedy: str

    def __new__(cls, code: str, rule: str, outcome: Outcome, remedy: str, status: int = OK) -> "Reason":
        member = str.__new__(cls, code)
        member._value_ = code
        member.rule, member.outcome, member.status, member.remedy = rule, outcome, status, remedy
        return member

    INJECTED = "injected", "B0", Outcome.INJECTED, "nothing: the pod gets its model"
    ALREADY_INJECTED = "already_injected", "B24", Outcome.UNCHANGED, "nothing: everything is there already"
    NOT_POD_CREATE = "not_pod_create", "B5", Outcome.UNCHANGED, "nothing: only the creation of a pod is looked at"
    MIRROR_POD = "mirror_pod", "B6", Outcome.UNCHANGED, "nothing: a node's static pod is left alone"
    WINDOWS_UNSUPPORTED = "windows_unsupported", "B6", Outcome.SKIPPED, "run the model API on a Linux node"
    NAMESPACE_NOT_ENABLED = (
        "namespace_not_enabled",
        "B7",
        Outcome.UNCHANGED,
        f"label the namespace {names.ENABLED_LABEL}=true",
    )
    EXCLUDED_NAMESPACE = "excluded_namespace", "B7", Outcome.UNCHANGED, "run model APIs in a namespace of their own"
    NOT_MODEL_API = (
        "not_model_api",
        "B7",
        Outcome.UNCHANGED,
        f"label the pod {names.WORKLOAD_TYPE_LABEL}={names.MODEL_API_WORKLOAD}",
    )
    OPTED_OUT = "opted_out", "B7", Outcome.UNCHANGED, f"remove the pod's label {names.INJECT}=false"
    WEBHOOK_ITSELF = "webhook_itself", "B7", Outcome.UNCHANGED, "nothing: the webhook does not wait for itself"
    NO_MODEL_VARIABLES = (
        "no_model_variables",
        "B7",
        Outcome.UNCHANGED,
        f"set {VARIABLES} on the container that loads the model",
    )
    INCOMPLETE_ENV = (
        "incomplete_env",
        "B8",
        Outcome.SKIPPED,
        "set the variables that are named as missing, on that container",
    )
    SPLIT_ENV = "split_env", "B9", Outcome.SKIPPED, "set all four variables on the one container that loads the model"
    INVALID_OWNER = "invalid_owner", "B10", Outcome.DENIED, f"set {names.MODEL_OWNER} to the owner's user name", INVALID
    INVALID_RUN_ID = (
        "invalid_run_id",
        "B11",
        Outcome.DENIED,
        f"set {names.RUN_ID} to the id of the model's run",
        INVALID,
    )
    UNUSUAL_RUN_ID = (
        "unusual_run_id",
        "B11",
        Outcome.INJECTED,
        f"compare {names.RUN_ID} with the page of the run in MLflow",
    )
    INVALID_MODEL_VERSION = (
        "invalid_model_version",
        "B12",
        Outcome.DENIED,
        f"set {names.MODEL_VERSION} to a version's number",
        INVALID,
    )
    INVALID_MODEL_NAME = (
        "invalid_model_name",
        "B12",
        Outcome.DENIED,
        f"set {names.MODEL_NAME} to a registered model's name",
        INVALID,
    )
    MISSING_PROJECT_ID = (
        "missing_project_id",
        "B13",
        Outcome.DENIED,
        f"label the pod {names.PROJECT_ID_LABEL}=<project id>",
        INVALID,
    )
    MOUNT_PATH_CONFLICT = (
        "mount_path_conflict",
        "B14",
        Outcome.DENIED,
        "mount the other volume at another path",
        CONFLICT,
    )
    ALREADY_PROVIDED = "already_provided", "B14", Outcome.SKIPPED, "nothing, or remove the other injector"
    READ_ONLY_PARENT_MOUNT = (
        "read_only_parent_mount",
        "B15",
        Outcome.DENIED,
        "mount the other volume elsewhere, or writable",
        CONFLICT,
    )
    NESTED_MOUNT = "nested_mount", "B15", Outcome.DENIED, "mount the other volume outside of the model's path", CONFLICT
    NAME_CONFLICT = "name_conflict", "B16", Outcome.DENIED, "give the pod's own part another name", CONFLICT
    CHANGED_PART = (
        "changed_part",
        "B16",
        Outcome.DENIED,
        "remove the part that differs, or correct the webhook that changes it",
        CONFLICT,
    )
    DEFERRED_WITH_VOLUME = (
        "deferred_with_volume",
        "B17",
        Outcome.DENIED,
        f"give {names.MODEL_OWNER} and {names.RUN_ID} by value",
        INVALID,
    )
    DEFERRED_WITH_IMAGE = ("deferred_with_image", "B17", Outcome.DENIED, f"give {VARIABLES} by value", INVALID)
    UNSUPPORTED_VALUE_FROM = (
        "unsupported_value_from",
        "B18",
        Outcome.DENIED,
        "use a Secret, a ConfigMap, a field or a value",
        INVALID,
    )
    ENVFROM_NOT_INSPECTED = "envfrom_not_inspected", "B19", Outcome.SKIPPED, f'annotate the pod {names.INJECT}: "true"'
    TOO_MANY_MODELS = "too_many_models", "B20", Outcome.DENIED, "give each model a pod of its own", INVALID
    AMBIGUOUS_ENVFROM = (
        "ambiguous_envfrom",
        "B20",
        Outcome.SKIPPED,
        f"annotate the pod {names.CONTAINERS_ANNOTATION}: <container>",
    )
    MALFORMED_POD = (
        "malformed_pod",
        "B21",
        Outcome.UNCHANGED,
        "correct the pod: the API server refuses it and says where",
    )
    INVALID_ANNOTATION = "invalid_annotation", "B25", Outcome.DENIED, "correct the annotation, or remove it", INVALID
    OWN_ARTIFACTS_PATH = (
        "own_artifacts_path",
        "B31",
        Outcome.SKIPPED,
        f"remove {names.ARTIFACTS_PATH} if the model is to be brought here",
    )
    CLAIM_NEEDS_FS_GROUP = (
        "claim_needs_fs_group",
        "B32",
        Outcome.DENIED,
        "set fsGroup in the pod's securityContext",
        INVALID,
    )
    BEHIND_MESH_INIT = (
        "behind_mesh_init",
        "B33",
        Outcome.INJECTED,
        "let the mesh inject first, or use its native sidecar",
    )
    MESH_BYPASSED = (
        "mesh_bypassed",
        "B34",
        Outcome.INJECTED,
        "use the mesh's native sidecar if the fetch is to go through it",
    )
    INIT_CONTAINER_TOO_LATE = (
        "init_container_too_late",
        "B35",
        Outcome.DENIED,
        f"put {names.INIT_CONTAINER} before it",
        CONFLICT,
    )
    STORAGE_LIMITED = (
        "storage_limited",
        "B36",
        Outcome.INJECTED,
        "raise the containers' ephemeral-storage limits if the model is larger",
    )
    TOKEN_EXPOSED = (
        "token_exposed",
        "B37",
        Outcome.DENIED,
        "use a token of your own: this one is for the fetch alone",
        CONFLICT,
    )
    NO_CLUSTER_DNS = (
        "no_cluster_dns",
        "B38",
        Outcome.INJECTED,
        "set dnsPolicy: ClusterFirstWithHostNet with hostNetwork, else ClusterFirst",
    )
    UNKNOWN_KEY = "unknown_key", "B39", Outcome.INJECTED, "correct the label or annotation"
    MISSING_IMAGE = (
        "missing_image",
        "B40",
        Outcome.DENIED,
        f"annotate the pod {names.IMAGE_ANNOTATION}: <repository>@sha256:<digest>",
        INVALID,
    )
    FOREIGN_IMAGE = (
        "foreign_image",
        "B41",
        Outcome.DENIED,
        "name an image of the project's own repository",
        INVALID,
    )
