"""Requests and limits of the init container, chosen so that the pod keeps its quality of service class.

The class counts init containers, unless `spec.resources` sets resources for the whole pod. A BestEffort pod gets none;
a Guaranteed pod gets requests that equal limits, none above the sum of its containers; `spec.resources` is never
exceeded, also not together with the native sidecars that run beside the init container: the API server refuses a pod
whose containers request more. An annotation goes before the settings, up to the admin's maximum.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from model_contract.names import INIT_CONTAINER
from model_contract.quantity import THOUSANDTH, Quantity, QuantityError, smallest
from webhook.annotations import PodAnnotations
from webhook.pod import Container, MalformedPodError, Pod, mapping
from webhook.settings import Settings

Json = Mapping[str, Any]
Amounts = Mapping[str, Quantity]

RESOURCES: Final = ("cpu", "memory")  # the resources that decide the class


class QosClass(Enum):
    """The class that Kubernetes gives the pod without the webhook's init container."""

    BEST_EFFORT = "BestEffort"
    BURSTABLE = "Burstable"
    GUARANTEED = "Guaranteed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Requests and limits of cpu and memory. A container's amount of 0 counts as absent, as in Kubernetes."""

    requests: Amounts
    limits: Amounts

    @classmethod
    def of(cls, resources: Json) -> "Bounds":
        """Return the bounds in `resources`. A limit without a request is both, as in the API server."""
        limits, requests = (_amounts(mapping(resources, kind)) for kind in ("limits", "requests"))
        return cls(
            requests={name: amount for name, amount in {**limits, **requests}.items() if amount.amount},
            limits={name: amount for name, amount in limits.items() if amount.amount},
        )

    @classmethod
    def of_pod(cls, resources: Json) -> "Bounds":
        """Return the bounds in the `resources` of a whole pod, of which an amount of 0 leaves nothing."""
        limits = _amounts(mapping(resources, "limits"))
        return cls(requests={**limits, **_amounts(mapping(resources, "requests"))}, limits=limits)

    @property
    def guaranteed(self) -> bool:
        return all(
            name in self.limits and name in self.requests and self.limits[name].amount == self.requests[name].amount
            for name in RESOURCES
        )


NO_BOUNDS: Final = Bounds(requests={}, limits={})  # of most containers other than the model's


def container_resources(pod: Pod, index: int, annotations: PodAnnotations, settings: Settings) -> Json | None:
    """Return `resources` of the init container at that position; None if it gets none."""
    wanted = {name: limit for name in RESOURCES if (limit := _annotated_limit(name, annotations, settings))}
    if pod.resources:
        return _as_json(_within(_beside_sidecars(pod, pod.resources, index), wanted, settings))
    match qos_class(pod):
        case QosClass.BEST_EFFORT:
            return _as_json(Bounds(requests=wanted, limits=wanted)) if wanted else None
        case QosClass.GUARANTEED:
            limits = _within(Bounds(requests={}, limits=_sum_of_limits(pod.containers)), {}, settings).limits
            return _as_json(Bounds(requests={**limits, **wanted}, limits={**limits, **wanted}))
        case QosClass.BURSTABLE:
            return _as_json(_within(NO_BOUNDS, wanted, settings))


def qos_class(pod: Pod) -> QosClass:
    bounds = [
        _bounds_of(container)
        for container in (*pod.containers, *pod.init_containers)
        if container.name != INIT_CONTAINER
    ]
    if not any(bound.requests for bound in bounds):
        return QosClass.BEST_EFFORT
    return QosClass.GUARANTEED if all(bound.guaranteed for bound in bounds) else QosClass.BURSTABLE


def _within(most: Bounds, wanted: Amounts, settings: Settings) -> Bounds:
    """Return the limits of the annotations or else of the settings, none above `most`."""
    limits = {
        name: smallest(wanted.get(name) or _setting(settings, name, "limit"), most.limits.get(name))
        for name in RESOURCES
    }
    requests = {
        name: smallest(_setting(settings, name, "request"), limits[name], most.requests.get(name)) for name in RESOURCES
    }
    return Bounds(requests=requests, limits=limits)


def _beside_sidecars(pod: Pod, resources: Json, index: int) -> Bounds:
    """Return the pod's own bounds; its requests without those of the native sidecars that start before `index`."""
    most = Bounds.of_pod(resources)
    sidecars = [
        _bounds_of(container).requests
        for container in pod.init_containers[:index]
        if container.native_sidecar and container.name != INIT_CONTAINER
    ]
    if not sidecars:
        return most
    return Bounds(
        requests={
            name: _rest(request, [requests[name] for requests in sidecars if name in requests])
            for name, request in most.requests.items()
        },
        limits=most.limits,
    )


def _rest(whole: Quantity, parts: Iterable[Quantity]) -> Quantity:
    rest = max(whole.amount - sum(part.amount for part in parts), 0)
    return Quantity.of(rest - rest % THOUSANDTH)


def _annotated_limit(name: str, annotations: PodAnnotations, settings: Settings) -> Quantity | None:
    limit = getattr(annotations, f"{name}_limit")
    return smallest(limit, _setting(settings, name, "limit_maximum")) if limit else None


def _setting(settings: Settings, name: str, bound: str) -> Quantity:
    quantity: Quantity = getattr(settings, f"{name}_{bound}")
    return quantity


def _sum_of_limits(containers: Iterable[Container]) -> Amounts:
    limits = [_bounds_of(container).limits for container in containers]
    return {name: Quantity.of(sum(limit[name].amount for limit in limits)) for name in RESOURCES}


def _bounds_of(container: Container) -> Bounds:
    resources = mapping(container.raw, "resources")
    return Bounds.of(resources) if resources else NO_BOUNDS


def _amounts(quantities: Json) -> Amounts:
    return {name: quantity_of(name, value) for name in RESOURCES if (value := quantities.get(name)) is not None}


def quantity_of(name: str, value: object) -> Quantity:
    """Return a quantity. In a file it may be a number; the API server always sends a string."""
    if type(value) is not str and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise MalformedPodError(f"{name} is no quantity")
    try:
        return Quantity.parse(str(value))
    except QuantityError:
        raise MalformedPodError(f"{name} is no quantity") from None


def _as_json(bounds: Bounds) -> Json:
    return {
        "requests": {name: quantity.text for name, quantity in bounds.requests.items()},
        "limits": {name: quantity.text for name, quantity in bounds.limits.items()},
    }
