"""The room for a model in a pod whose containers limit `ephemeral-storage`.

The kubelet adds up the containers' limits, and evicts a pod that uses more than their sum. An `emptyDir` counts as use of the pod,
although no container's own limit speaks of it; so a store that is larger than the sum lets a large model end in an eviction.
"""

from fractions import Fraction
from typing import Final

from model_contract.names import INIT_CONTAINER, MODEL_VOLUME
from model_contract.quantity import Quantity, smallest
from webhook.decision import remark
from webhook.mutation.resources import quantity_of
from webhook.pod import Container, Pod, mapping
from webhook.reasons import Reason
from webhook.settings import Settings

RESOURCE: Final = "ephemeral-storage"
SCRATCH_SIZE: Final = Quantity.parse("64Mi")  # the fetch streams to the store; this takes what Python writes beside it


def store_size(pod: Pod, settings: Settings) -> Quantity:
    """The size of the store: as our volume in the pod has it, else as much of the setting as the pod may use."""
    if settings.store != "empty-dir":
        return settings.store_size
    return _size_there(pod, settings) or smallest(settings.store_size, room(pod))


def room(pod: Pod) -> Quantity | None:
    """The part of the pod's limit that a model may take; the rest is for scratch files, logs and what containers write. None: no limit."""
    if not (limit := storage_limit(pod)):
        return None
    return Quantity.of(Fraction(int(max(limit.amount - SCRATCH_SIZE.amount, limit.amount / 2))))


def storage_limit(pod: Pod) -> Quantity | None:
    """The limit by which the kubelet evicts the pod, without what our init container adds; None if no container has one."""
    beside = sum((_limit(container) for container in pod.containers), start=Fraction(0))
    sidecars = highest = Fraction(0)
    for container in pod.init_containers:
        if container.name == INIT_CONTAINER:
            continue
        highest = max(highest, sidecars + _limit(container))
        sidecars += _limit(container) if container.native_sidecar else 0
    limit = max(beside + sidecars, highest)
    return Quantity.of(limit) if limit else None


def storage_warnings(pod: Pod, settings: Settings, size: Quantity) -> tuple[str, ...]:
    """B36: both numbers, if the pod may use less than a model may take."""
    most, limit = room(pod), storage_limit(pod)
    if settings.delivery != "fetch" or settings.store != "empty-dir" or not most or not limit or most.amount >= settings.store_size.amount:
        return ()
    if size.amount > most.amount:
        sentence = f"the pod's {RESOURCE} limit is {limit.text}, and its model may take {size.text}: it may be evicted"
    else:
        sentence = f"the pod's {RESOURCE} limit is {limit.text}: its model may take {size.text} instead of {settings.store_size.text}"
    return (remark(Reason.STORAGE_LIMITED, sentence),)


def _size_there(pod: Pod, settings: Settings) -> Quantity | None:
    """The size of our volume, if the pod has it; None if it is larger than the setting, or not a size at all."""
    for volume in pod.volumes:
        written = mapping(volume, "emptyDir").get("sizeLimit")
        if volume["name"] == MODEL_VOLUME and isinstance(written, str):
            size = quantity_of(RESOURCE, written)
            return size if 0 < size.amount <= settings.store_size.amount else None
    return None


def _limit(container: Container) -> Fraction:
    limit = mapping(mapping(container.raw, "resources"), "limits").get(RESOURCE)
    return Fraction(0) if limit is None else quantity_of(RESOURCE, limit).amount
