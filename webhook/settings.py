"""Settings of the webhook: how a model comes to a pod, from which server, and with which resources."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from model_contract.names import (
    DELIVERY_IMAGE,
    DOMINO_PROJECT_ID_PATTERN,
    GATE_AUDIENCE,
    MLFLOW_NAMESPACE,
    PLATFORM_NAMESPACE,
)
from model_contract.quantity import Quantity
from model_contract.setting_types import boolean, one_of, optional
from model_contract.settings import SettingError, read_settings, setting, settings_of
from webhook import setting_types as types

PREFIX: Final = "MODEL_API_WEBHOOK_"
SERVER_PREFIX: Final = "MODEL_API_WEBHOOK_SERVER_"
# Kubernetes describes every Service of the namespace to a container; one named like our prefix looks like settings.
SERVICE_LINK: Final = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each field is set by a variable: `MODEL_API_WEBHOOK_` and its name in capitals."""

    namespace: str = setting(
        "The webhook's own namespace; its pods are let through.", read=types.label, default=PLATFORM_NAMESPACE
    )

    delivery: str = setting(
        "How a model comes to a pod: `fetch` downloads it into a volume of the pod, `volume` mounts it from a shared"
        " claim that holds it, `image` mounts it from an image of it, as `model-api package` makes.",
        read=one_of(("fetch", "volume", "image")),
        default="fetch",
    )
    delivery_image: str = setting(
        "The image of the init container, by digest in production.",
        read=types.image,
        default=f"{DELIVERY_IMAGE}:latest",
        example=f"quay.io/acme/{DELIVERY_IMAGE}@sha256:<digest>",
    )
    image_pull_policy: str = setting(
        "When the node pulls that image.", read=one_of(("IfNotPresent", "Always", "Never")), default="IfNotPresent"
    )
    image_pull_secrets: tuple[str, ...] = setting(
        "Secrets for that image, and for those of models, by comma; they must be in the pod's namespace.",
        read=types.names,
        example="acme-registry",
        secret=True,
    )

    tracking_uri: str = setting(
        "The address at which the init container finds MLflow, or the gate in front of it. A variable of the pod"
        " does not change it.",
        read=types.url,
        default=f"http://mlflow.{MLFLOW_NAMESPACE}.svc:5000",
        secret=True,
    )
    token: str = setting(
        "`pull` mounts the project's pull token into the init container, `service-account` a token of the pod's"
        " ServiceAccount that the kubelet renews, `none` is for an MLflow without authentication.",
        read=one_of(("pull", "service-account", "none")),
        default="pull",
        secret=True,
    )
    token_audience: str = setting(
        "The audience of `service-account`, as the gate's file of issuers names it.",
        read=types.audience,
        default=GATE_AUDIENCE,
    )
    project_id_pattern: re.Pattern[str] = setting(
        "The form of a project id: the whole label must match.", read=types.pattern, default=DOMINO_PROJECT_ID_PATTERN
    )
    env_from: str = setting(
        "Pods whose `envFrom` may hold the variables: with `inject` all, with `annotated` those with the annotation"
        ' `inject: "true"`, with `ignore` none.',
        read=one_of(("annotated", "inject", "ignore")),
        default="annotated",
    )

    store: str = setting(
        "The volume that a model is fetched into: `empty-dir`, or `ephemeral-claim`, a claim that lives as long as the"
        " pod.",
        read=one_of(("empty-dir", "ephemeral-claim")),
        default="empty-dir",
    )
    store_size: Quantity = setting(
        "The size of that volume; a larger model is refused before it is fetched.", read=types.quantity, default="20Gi"
    )
    store_class: str | None = setting("The storage class of that claim.", read=optional(types.name), example="gp3")
    store_access_mode: str = setting(
        "The access mode of that claim.",
        read=one_of(("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany")),
        default="ReadWriteOnce",
    )
    claim: str | None = setting(
        "The shared claim of `volume`, in the pod's namespace.", read=optional(types.name), example="mlflow-models"
    )
    claim_prefix: str = setting(
        "The folder of that claim that holds the owners' folders.", read=types.relative_path, example="mlflow"
    )

    model_image: types.ImageTemplate | None = setting(
        "The images of `image`: the repository of a project, which the annotation `image` of a pod must name, and the"
        " tag for a pod without the annotation; without a tag, each pod needs the annotation.",
        read=optional(types.image_template),
        example="registry.example/models/{project_id}:{run_id}",
    )

    fetch_deadline: int | None = setting(
        "The time in which a model must be there, in seconds or such as `30m`; by default the delivery's own bounds"
        " decide.",
        read=optional(types.duration),
        example="30m",
    )
    fetch_deadline_maximum: int = setting(
        "The upper bound of a pod's annotation `deadline`.", read=types.duration, default="24h"
    )

    ca_config_map: str | None = setting(
        "A ConfigMap in the pod's namespace with the authorities that the fetch trusts, and no others.",
        read=optional(types.name),
        example="mlflow-ca",
    )
    ca_key: str = setting("The key of that ConfigMap that holds them, as PEM.", read=types.config_key, default="ca.crt")
    http_proxy: str | None = setting(
        "The proxy of the init container for http.",
        read=optional(types.url),
        example="http://proxy.example:3128",
        secret=True,
    )
    https_proxy: str | None = setting(
        "The proxy of the init container for https.",
        read=optional(types.url),
        example="http://proxy.example:3128",
        secret=True,
    )
    no_proxy: str | None = setting(
        "Hosts that the init container reaches without a proxy.",
        read=optional(types.no_proxy),
        example="localhost,.svc,10.0.0.0/8",
    )
    presigned_hosts: str | None = setting(
        "Hosts of object stores that MLflow's presigned URLs may name, by comma; without it, large files come through"
        " MLflow, too.",
        read=optional(types.allowed_hosts),
        example="*.s3.eu-west-1.amazonaws.com,http://minio.storage:9000",
    )
    object_stores: str | None = setting(
        "Addresses in object stores that the init container may read directly, by comma, if MLflow does not serve the"
        " artifacts; it needs the image with the tag `-full`.",
        read=optional(types.store_addresses),
        example="s3://models,abfss://models@acme.dfs.core.windows.net/mlflow",
    )
    object_store_secret: str | None = setting(
        "A Secret in the pod's namespace with credentials for these addresses, a key for each variable such as"
        " `AWS_ACCESS_KEY_ID`; by default the pod's own identity is used.",
        read=optional(types.name),
        example="model-store",
        secret=True,
    )

    cpu_request: Quantity = setting("CPU that the init container asks for.", read=types.quantity, default="100m")
    cpu_limit: Quantity = setting("CPU that the init container may take.", read=types.quantity, default="1")
    cpu_limit_maximum: Quantity = setting(
        "The upper bound of a pod's annotation `cpu-limit`.", read=types.quantity, default="4"
    )
    memory_request: Quantity = setting("Memory that the init container asks for.", read=types.quantity, default="128Mi")
    memory_limit: Quantity = setting("Memory that the init container may take.", read=types.quantity, default="512Mi")
    memory_limit_maximum: Quantity = setting(
        "The upper bound of a pod's annotation `memory-limit`.", read=types.quantity, default="4Gi"
    )
    run_as_user: int | None = setting(
        "The uid of the init container, if the image's own (65532) is not allowed.",
        read=optional(types.user_id),
        example="12574",
    )

    set_artifacts_path_env: bool = setting(
        "`true`: containers with a model also get `MLFLOW_ARTIFACTS_PATH`, unless they have it.",
        read=boolean,
        default="false",
    )

    def __post_init__(self) -> None:
        for resource in ("cpu", "memory"):
            request, limit, maximum = (
                getattr(self, f"{resource}_{bound}") for bound in ("request", "limit", "limit_maximum")
            )
            if not request.amount <= limit.amount <= maximum.amount:
                key = f"{PREFIX}{resource.upper()}_LIMIT"
                raise SettingError(
                    key,
                    limit.text,
                    f"it must lie between the request ({request.text}) and the maximum ({maximum.text})",
                )
        if self.fetch_deadline and self.fetch_deadline > self.fetch_deadline_maximum:
            verdict = f"it must not be more than the maximum ({self.fetch_deadline_maximum}s)"
            raise SettingError(f"{PREFIX}FETCH_DEADLINE", f"{self.fetch_deadline}s", verdict)
        if self.delivery == "volume" and not self.claim:
            raise SettingError(f"{PREFIX}CLAIM", "", f"{PREFIX}DELIVERY=volume needs the name of the shared claim")
        if self.delivery == "image" and not self.model_image:
            raise SettingError(f"{PREFIX}MODEL_IMAGE", "", f"{PREFIX}DELIVERY=image needs the repository of the images")

    @classmethod
    def from_mapping(cls, values: Mapping[str, str]) -> "Settings":
        """Return the settings of these variables. Raises SettingError for a wrong value or a misspelt variable."""
        refuse_unknown(cls, values, prefix=PREFIX, except_prefix=SERVER_PREFIX)
        return read_settings(cls, values, prefix=PREFIX)


def refuse_unknown(kind: type, values: Mapping[str, str], *, prefix: str, except_prefix: str | None = None) -> None:
    """Raise SettingError if a variable has the prefix and is no setting of `kind`: it is a misspelt one.

    Variables that begin with `except_prefix` belong to another dataclass.
    """
    known = [declared.variable for declared in settings_of(kind, prefix=prefix)]
    for key in sorted(values):
        foreign = not key.startswith(prefix) or (except_prefix and key.startswith(except_prefix))
        if not foreign and key not in known and not SERVICE_LINK.fullmatch(key.removeprefix(prefix)):
            nearest = get_close_matches(key, known, n=1, cutoff=0)[0]
            raise SettingError(key, None, f"there is no such setting; the nearest is {nearest}")
