"""A pod as the API server sent it: raw JSON behind named fields, its types checked once.

No field is copied or dropped. `null` counts as absent, as everywhere in Kubernetes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from model_contract.model_ref import shown
from webhook.setting_types import DNS_LABEL

Json = Mapping[str, Any]


class MalformedPodError(ValueError):
    """A field of the pod has the wrong type. The API server refuses such a pod with a better message."""


class Field(StrEnum):
    """The lists of a pod's spec that hold its containers."""

    CONTAINERS = "containers"
    INIT_CONTAINERS = "initContainers"
    EPHEMERAL_CONTAINERS = "ephemeralContainers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container and its position in the pod's spec. `env_references` are the entries of `env` with `valueFrom`."""

    field: Field
    index: int
    name: str
    raw: Json
    env: tuple[Json, ...]
    env_references: tuple[Json, ...]
    env_from: tuple[Json, ...]
    mounts: tuple[Json, ...]

    @property
    def title(self) -> str:
        """The name for a message; an invalid name is quoted and cut."""
        return self.name if DNS_LABEL.fullmatch(self.name) else shown(self.name)

    @property
    def pointer(self) -> str:
        """The JSON pointer of the container in its pod."""
        return f"/spec/{self.field}/{self.index}"

    @property
    def native_sidecar(self) -> bool:
        """True for an init container with `restartPolicy: Always`, which runs for as long as the containers."""
        return self.field is Field.INIT_CONTAINERS and self.raw.get("restartPolicy") == "Always"

    @property
    def run_as_user(self) -> object:
        return mapping(self.raw, "securityContext").get("runAsUser")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The parts of a pod that the webhook reads."""

    metadata: Json
    spec: Json
    annotations: Json
    labels: Json
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...]
    ephemeral_containers: tuple[Container, ...]
    volumes: tuple[Json, ...]
    image_pull_secrets: tuple[Json, ...]
    security_context: Json
    resources: Json | None

    @classmethod
    def read(cls, raw: Json) -> "Pod":
        """Return the pod in `raw`. Raises MalformedPodError if a field has the wrong type."""
        metadata, spec = required(raw, "metadata"), required(raw, "spec")
        return cls(
            metadata=metadata,
            spec=spec,
            annotations=mapping(metadata, "annotations"),
            labels=mapping(metadata, "labels"),
            containers=tuple(containers(spec, Field.CONTAINERS)),
            init_containers=tuple(containers(spec, Field.INIT_CONTAINERS)),
            ephemeral_containers=tuple(containers(spec, Field.EPHEMERAL_CONTAINERS)),
            volumes=named(spec, "volumes"),
            image_pull_secrets=objects(spec, "imagePullSecrets"),
            security_context=mapping(spec, "securityContext"),
            resources=None if spec.get("resources") is None else mapping(spec, "resources"),
        )

    @property
    def all_containers(self) -> tuple[Container, ...]:
        return (*self.init_containers, *self.containers, *self.ephemeral_containers)


def containers(spec: Json, field: Field) -> Iterator[Container]:
    for index, raw in enumerate(named(spec, field)):
        env = named(raw, "env")
        yield Container(
            field=field,
            index=index,
            name=raw["name"],
            raw=raw,
            env=env,
            env_references=references(env),
            env_from=objects(raw, "envFrom"),
            mounts=mounts(raw),
        )


def references(env: tuple[Json, ...]) -> tuple[Json, ...]:
    """Return the entries of `env` with `valueFrom`. Raises MalformedPodError if an entry has the wrong type."""
    found = []
    for entry in env:
        if type(entry.get("value")) is not str:  # most are strings: a call saved
            text(entry, "value")
        if "valueFrom" in entry and mapping(entry, "valueFrom"):
            found.append(entry)
    return tuple(found)


def mounts(container: Json) -> tuple[Json, ...]:
    entries = named(container, "volumeMounts")
    for entry in entries:
        if not text(entry, "mountPath"):
            raise MalformedPodError("a volumeMount has no mountPath")
    return entries


def named(parent: Json, key: str) -> tuple[Json, ...]:
    """Return the objects of a list. Raises MalformedPodError if one has no name."""
    entries = objects(parent, key)
    for entry in entries:
        if type(name := entry.get("name")) is not str or not name:
            text(entry, "name")
            raise MalformedPodError(f"an entry of {key} has no name")
    return entries


def objects(parent: Json, key: str) -> tuple[Json, ...]:
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or set(map(type, value)) - {dict}:
        raise MalformedPodError(f"{key} is not a list of objects")
    return tuple(value)


def required(parent: Json, key: str) -> Json:
    if parent.get(key) is None:
        raise MalformedPodError(f"there is no {key}")
    return mapping(parent, key)


def mapping(parent: Json, key: str) -> Json:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedPodError(f"{key} is not an object")
    return value


def text(parent: Json, key: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedPodError(f"{key} is not a string")
    return value
