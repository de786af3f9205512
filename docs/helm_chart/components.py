"""Components of kustomize that the chart has: each one is switched on by a value of its own."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component: `part` is the value that must be on as well, and `on` the default of its own value."""

    part: str = ""
    on: bool = False


# The folder of each in manifests/components. If two change the same field, the later one wins.
COMPONENTS: Final = {
    "self-managed-certs": Component(part="webhook", on=True),
    "cert-manager": Component(part="webhook"),
    "policy": Component(part="webhook", on=True),
    "high-availability": Component(part="webhook"),
    "monitoring": Component(part="webhook"),
    "mlflow-access": Component(part="webhook"),
    "object-stores": Component(part="webhook"),
    "shared-volume": Component(part="webhook"),
    "gate": Component(),
    "gate-domino": Component(part="gate"),
    "gate-monitoring": Component(part="gate"),
    "gate-replicas": Component(part="gate"),
    "gate-service-account-tokens": Component(part="gate"),
    "gate-pod-labels": Component(part="gate"),
    "kserve": Component(),
}


def value_of(component: str) -> str:
    """Return the name of the chart's value: `gateDomino` for `gate-domino`."""
    first, *others = component.split("-")
    return first + "".join(other.capitalize() for other in others)


def condition_of(component: str) -> str:
    """Return the condition of a template under which the component is part of the release."""
    own, part = f".Values.{value_of(component)}.enabled", COMPONENTS[component].part
    return f"and .Values.{part}.enabled {own}" if part else own
