"""The size of the volume for a model in a pod whose containers limit `ephemeral-storage`.

The kubelet adds up the containers' limits, and evicts a pod that uses more than their sum. An `emptyDir` counts as use
of the pod, although no container's own limit names it; so a volume that is larger than the sum lets a large model
end in an eviction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from model_contract.names import INIT_CONTAINER, MODEL_VOLUME
from model_contract.quantity import WHOLE, Quantity, smallest
from webhook.decision import warning
from webhook.mutation.resources import quantity_of
from webhook.pod import Container, Pod, mapping
from webhook.reasons import Reason
from webhook.settings import Settings

RESOURCE: Final = "ephemeral-storage"
SCRATCH_SIZE: Final = Quantity.parse("64Mi")  # the fetch streams to the store; this takes Python's own temporary files


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSize:
    """The largest size of a model.

    `pod_limit`, and the part of it that is `available` for a model, are None unless they are below the setting.
    """

    size: Quantity
    pod_limit: Quantity | None = None
    available: Quantity | None = None


def size_store(pod: Pod, settings: Settings) -> StoreSize:
    """Return the size of the volume that the pod has already, else as much of the setting as the pod may use."""
    if settings.delivery != "fetch" or settings.store != "empty-dir":
        return StoreSize(size=settings.store_size)
    present, limit = _existing_size(pod, settings), storage_limit(pod)
    available = model_share(limit) if limit else None
    if not available or available.amount >= settings.store_size.amount:
        return StoreSize(size=present or settings.store_size)
    return StoreSize(size=present or smallest(settings.store_size, available), pod_limit=limit, available=available)


def storage_limit(pod: Pod) -> Quantity | None:
    """Return the limit at which the kubelet evicts the pod, without the webhook's init container; None if unset."""
    limits = {
        container.pointer: limit
        for container in (*pod.containers, *pod.init_containers)
        if (limit := _limit(container))
    }
    if not limits:
        return None
    regular = sum(limits.get(container.pointer, 0) for container in pod.containers)
    sidecars = highest = 0
    for container in pod.init_containers:
        limit = limits.get(container.pointer, 0)
        highest = max(highest, sidecars + limit)
        sidecars += limit if container.native_sidecar else 0
    return Quantity.of(max(regular + sidecars, highest))


def model_share(limit: Quantity) -> Quantity:
    """Return the part of the pod's limit that a model may take; the rest is for scratch files, logs and writes."""
    share = max(limit.amount - SCRATCH_SIZE.amount, limit.amount // 2)
    return Quantity.of(share - share % WHOLE)


def storage_bounds(pod: Pod) -> Mapping[str, Mapping[str, str]]:
    """Return requests and limits of `ephemeral-storage` for the init container; none unless every container limits it.

    Policies of admins ask for a limit of every container. The amounts are those of the container with the smallest
    limit, so that no sum of the pod changes.
    """
    limits = []
    for container in (*pod.containers, *pod.init_containers):
        if container.name != INIT_CONTAINER:
            if not (limit := _limit(container)):
                return {}
            limits.append((limit, container))
    resources = mapping(min(limits, key=itemgetter(0))[1].raw, "resources")
    limit_text = str(mapping(resources, "limits")[RESOURCE])
    request = mapping(resources, "requests").get(RESOURCE)
    return {
        "requests": {RESOURCE: limit_text if request is None else str(request)},
        "limits": {RESOURCE: limit_text},
    }


def storage_warnings(store: StoreSize, settings: Settings) -> tuple[str, ...]:
    """Return a warning with both sizes if the pod's limit leaves a model less than the setting."""
    size, limit = store.size, store.pod_limit
    if not limit or not store.available:
        return ()
    if size.amount > store.available.amount:
        sentence = f"the pod's {RESOURCE} limit is {limit.text}, and its model may take {size.text}: it may be evicted"
    else:
        sentence = (
            f"the pod's {RESOURCE} limit is {limit.text}: its model may take {size.text} instead of"
            f" {settings.store_size.text}"
        )
    return (warning(Reason.STORAGE_LIMITED, sentence),)


def _existing_size(pod: Pod, settings: Settings) -> Quantity | None:
    """Return the size of the volume if the pod has it already; None if it is larger than the setting."""
    for volume in pod.volumes:
        if volume["name"] == MODEL_VOLUME and isinstance(written := mapping(volume, "emptyDir").get("sizeLimit"), str):
            size = quantity_of(RESOURCE, written)
            if 0 < size.amount <= settings.store_size.amount:
                return size
    return None


def _limit(container: Container) -> int | None:
    """Return the limit of the container; None if it is absent or 0, or if the container is the webhook's."""
    resources = container.raw.get("resources")
    if not resources or container.name == INIT_CONTAINER:  # most have none: the rest is slower
        return None
    limit = mapping(mapping(container.raw, "resources"), "limits").get(RESOURCE)
    return None if limit is None else quantity_of(RESOURCE, limit).amount or None
