"""The volumes: the store that holds the model, the token, the authorities, scratch space."""

from collections.abc import Mapping
from typing import Any, Final

from model_contract.names import MODEL_VOLUME, SCRATCH_VOLUME, TOKEN_KEY, TOKEN_VOLUME, pull_secret
from model_contract.quantity import Quantity
from webhook.decision import RefusalError
from webhook.mutation.comparison import covers, first_difference
from webhook.mutation.ephemeral_storage import SCRATCH_SIZE
from webhook.mutation.injection import Injection
from webhook.pod import Pod, mapping, text
from webhook.reasons import Reason
from webhook.settings import Settings

Json = Mapping[str, Any]

AUTHORITIES_VOLUME: Final = "mlflow-ca"
AUTHORITIES_FILE: Final = "ca.crt"
LOCAL_VOLUMES: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
READABLE_BY_ALL: Final = 0o444  # without fsGroup a Secret's file belongs to root, and the init container is not root


def store_name(pod: Pod, settings: Settings) -> str:
    """The name of the volume that holds the model.

    A pod that mounts the shared claim already keeps its volume: the same claim twice in one pod may hang its start for
    ever.
    """
    return MODEL_VOLUME if settings.delivery == "fetch" else _volume_of_claim(pod, settings.claim) or MODEL_VOLUME


def missing_volumes(injection: Injection) -> list[Json]:
    """The volumes to add. Raises RefusalError where the pod has another one of that name (B16)."""
    return [volume for volume in wanted_volumes(injection) if not _present(injection.pod, volume)]


def wanted_volumes(injection: Injection) -> list[Json]:
    pod, settings = injection.pod, injection.settings
    volumes: list[Json] = []
    if settings.delivery == "fetch":
        volumes.append({"name": MODEL_VOLUME, **_store(pod, settings, injection.store_size)})
    elif not _volume_of_claim(pod, settings.claim):
        volumes.append({"name": MODEL_VOLUME, "persistentVolumeClaim": {"claimName": settings.claim, "readOnly": True}})
    if injection.project_id:
        volumes.append({"name": TOKEN_VOLUME, "secret": _token(injection.project_id)})
    if settings.delivery == "fetch" and settings.ca_config_map:
        items = [{"key": settings.ca_key, "path": AUTHORITIES_FILE}]
        volumes.append({"name": AUTHORITIES_VOLUME, "configMap": {"name": settings.ca_config_map, "items": items}})
    volumes.append({"name": SCRATCH_VOLUME, "emptyDir": {"sizeLimit": SCRATCH_SIZE.text}})
    return volumes


def eviction_annotation(injection: Injection) -> Mapping[str, str]:
    """The annotation with our volumes behind those of the author. The autoscaler splits it at commas, and keeps white
    space.
    """
    written = text(injection.pod.annotations, LOCAL_VOLUMES)
    named = written.split(",")
    ours = [
        volume["name"] for volume in wanted_volumes(injection) if "emptyDir" in volume and volume["name"] not in named
    ]
    return {LOCAL_VOLUMES: ",".join([written, *ours] if written else ours)} if ours else {}


def _store(pod: Pod, settings: Settings, size: Quantity) -> Json:
    if settings.store == "empty-dir":
        return {"emptyDir": {"sizeLimit": size.text}}
    if pod.security_context.get("fsGroup") is None:
        raise RefusalError(
            Reason.CLAIM_NEEDS_FS_GROUP,
            "the model is fetched into a fresh claim, which only root can write: set fsGroup in the pod's"
            " securityContext",
        )
    claim: dict[str, Any] = {
        "accessModes": [settings.store_access_mode],
        "resources": {"requests": {"storage": size.text}},
    }
    if settings.store_class:
        claim["storageClassName"] = settings.store_class
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def _token(project_id: str) -> Json:
    return {
        "secretName": pull_secret(project_id),
        "items": [{"key": TOKEN_KEY, "path": TOKEN_KEY}],
        "optional": False,
        "defaultMode": READABLE_BY_ALL,
    }


def _volume_of_claim(pod: Pod, claim: str | None) -> str | None:
    """The pod's volume of that claim; ours before others, so that a second call finds what the first one added."""
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
    """A volume of another kind is the author's; one of the same kind is ours, and somebody changed it."""
    name = wanted["name"]
    if not all(isinstance(present.get(kind), dict) for kind in wanted if kind != "name"):
        return RefusalError(Reason.NAME_CONFLICT, f"the pod has a volume {name} of its own; give it another name")
    return RefusalError(
        Reason.CHANGED_PART,
        f"volume {name} is not as the webhook writes it: {first_difference(present, wanted)} differs; remove it from"
        " the pod, or find out who changes it",
    )
