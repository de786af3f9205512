"""The volumes: the model's store, the token, the certificate authorities, scratch space."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from model_contract.names import (
    MODEL_VOLUME,
    OBJECT_STORE_VOLUME,
    PROJECT_ID_LABEL,
    SCRATCH_VOLUME,
    TOKEN_KEY,
    TOKEN_VOLUME,
    pull_secret,
)
from model_contract.quantity import Quantity
from webhook.decision import ModelImage, RefusalError
from webhook.model_image import is_of_project
from webhook.mutation.comparison import covers, first_difference, same_image
from webhook.mutation.ephemeral_storage import SCRATCH_SIZE
from webhook.mutation.injection import Injection
from webhook.pod import Pod, mapping, text
from webhook.reasons import Reason
from webhook.settings import Settings

Json = Mapping[str, Any]

AUTHORITIES_VOLUME: Final = "mlflow-ca"
AUTHORITIES_FILE: Final = "ca.crt"
LOCAL_VOLUMES: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
ACCOUNT_TOKEN_SECONDS: Final = 600  # the shortest that the API server grants
READABLE_BY_ALL: Final = 0o444  # without fsGroup a Secret's file belongs to root, and the init container is not root


def store_name(pod: Pod, settings: Settings) -> str:
    """Return the name of the volume that holds the model.

    A pod that mounts the shared claim already keeps its volume: one claim in two volumes can hang the start of the pod.
    """
    return (_volume_of_claim(pod, settings.claim) if settings.delivery == "volume" else None) or MODEL_VOLUME


def reads_object_stores(settings: Settings) -> bool:
    """Return True if the init container may read addresses in object stores."""
    return settings.delivery == "fetch" and settings.object_stores is not None


def missing_volumes(pod: Pod, wanted: Sequence[Json]) -> list[Json]:
    """Return the volumes to add. Raises RefusalError if the pod has another volume of that name."""
    return [volume for volume in wanted if not _present(pod, volume)]


def wanted_volumes(injection: Injection) -> list[Json]:
    pod, settings = injection.pod, injection.settings
    if injection.image:
        return [{"name": MODEL_VOLUME, "image": {"reference": _reference(injection.image, pod)}}]
    volumes: list[Json] = []
    if settings.delivery == "fetch":
        volumes.append({"name": MODEL_VOLUME, **_store(pod, settings, injection.store_size)})
    elif not _volume_of_claim(pod, settings.claim):
        volumes.append({"name": MODEL_VOLUME, "persistentVolumeClaim": {"claimName": settings.claim, "readOnly": True}})
    if injection.project_id:
        volumes.append({"name": TOKEN_VOLUME, "secret": _token(injection.project_id)})
    if injection.has_account_token:
        volumes.append({"name": TOKEN_VOLUME, "projected": _account_token(settings.token_audience)})
    if settings.delivery == "fetch" and settings.ca_config_map:
        items = [{"key": settings.ca_key, "path": AUTHORITIES_FILE}]
        volumes.append({"name": AUTHORITIES_VOLUME, "configMap": {"name": settings.ca_config_map, "items": items}})
    if reads_object_stores(settings) and settings.object_store_secret:
        secret = {"secretName": settings.object_store_secret, "optional": False, "defaultMode": READABLE_BY_ALL}
        volumes.append({"name": OBJECT_STORE_VOLUME, "secret": secret})
    volumes.append({"name": SCRATCH_VOLUME, "emptyDir": {"sizeLimit": SCRATCH_SIZE.text}})
    return volumes


def eviction_annotation(pod: Pod, wanted: Sequence[Json]) -> Mapping[str, str]:
    """Return the annotation that lets the cluster autoscaler drain the pod's node although the pod has local volumes.

    The autoscaler keeps a node on which a pod has an `emptyDir`, unless the pod names that volume in this annotation.
    The webhook's volumes can be fetched again; they come after those that the author names. The autoscaler splits the
    value at commas and keeps white space.
    """
    written = text(pod.annotations, LOCAL_VOLUMES)
    named = written.split(",")
    ours = [volume["name"] for volume in wanted if "emptyDir" in volume and volume["name"] not in named]
    return {LOCAL_VOLUMES: ",".join([written, *ours] if written else ours)} if ours else {}


def _store(pod: Pod, settings: Settings, size: Quantity) -> Json:
    if settings.store == "empty-dir":
        return {"emptyDir": {"sizeLimit": size.text}}
    if pod.security_context.get("fsGroup") is None:
        raise RefusalError(
            Reason.CLAIM_NEEDS_FS_GROUP,
            "the model is fetched into a new claim, which only root can write: set fsGroup in the pod's"
            " securityContext",
        )
    claim: dict[str, Any] = {
        "accessModes": [settings.store_access_mode],
        "resources": {"requests": {"storage": size.text}},
    }
    if settings.store_class:
        claim["storageClassName"] = settings.store_class
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def _reference(image: ModelImage, pod: Pod) -> str:
    """Return the reference, or the pod's own if it names the same image at a mirror."""
    wanted, project_id = str(image.reference), text(pod.labels, PROJECT_ID_LABEL)
    present = (image_of(volume) for volume in pod.volumes if volume["name"] == MODEL_VOLUME)
    mirrored = (found for found in present if same_image(found, wanted) and is_of_project(found, project_id))
    return next(mirrored, wanted) if image.pinned else wanted


def image_of(volume: Json) -> str:
    """Return the reference of a volume's image; empty if it has none."""
    return text(mapping(volume, "image"), "reference")


def _token(project_id: str) -> Json:
    return {
        "secretName": pull_secret(project_id),
        "items": [{"key": TOKEN_KEY, "path": TOKEN_KEY}],
        "optional": False,
        "defaultMode": READABLE_BY_ALL,
    }


def _account_token(audience: str) -> Json:
    """Return a token of the pod's ServiceAccount, bound to the pod; the kubelet renews it at 80 % of its time."""
    token = {"audience": audience, "expirationSeconds": ACCOUNT_TOKEN_SECONDS, "path": TOKEN_KEY}
    return {"sources": [{"serviceAccountToken": token}], "defaultMode": READABLE_BY_ALL}


def _volume_of_claim(pod: Pod, claim: str | None) -> str | None:
    """Return the pod's volume of that claim, the webhook's own first, so that a second call finds it."""
    found = [
        volume["name"] for volume in pod.volumes if mapping(volume, "persistentVolumeClaim").get("claimName") == claim
    ]
    return MODEL_VOLUME if MODEL_VOLUME in found else next(iter(found), None)


def _present(pod: Pod, wanted: Json) -> bool:
    same_name = [volume for volume in pod.volumes if volume["name"] == wanted["name"]]
    if same_name and not any(covers(volume, wanted) for volume in same_name):
        raise _conflict(same_name[0], wanted)
    return bool(same_name)


def _conflict(present: Json, wanted: Json) -> RefusalError:
    """Return the error: another kind of volume is the author's own, the same kind is the webhook's and was changed."""
    name = wanted["name"]
    if not all(isinstance(present.get(kind), dict) for kind in wanted if kind != "name"):
        return RefusalError(Reason.NAME_CONFLICT, f"the pod has a volume {name} of its own; give it another name")
    return RefusalError(
        Reason.CHANGED_PART,
        f"volume {name} is not as the webhook writes it: {first_difference(present, wanted)} differs; remove it from"
        " the pod, or find out who changes it",
    )
