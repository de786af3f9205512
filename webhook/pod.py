"""A pod as it was sent: raw JSON, read with names, its shape checked once (B21).

Nothing is copied or dropped. `null` stands for absent, as everywhere in Kubernetes (B22).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from model_contract.model_ref import shown
from webhook.setting_types import DNS_LABEL

Json = Mapping[str, Any]


class MalformedPodError(ValueError):
    """Something is no list, object or string where a pod has one. The API server refuses the pod, and
    says it better.
    """


class Field(StrEnum):
    """The lists of a pod's spec that hold its containers."""

    CONTAINERS = "containers"
    INIT_CONTAINERS = "initContainers"
    EPHEMERAL_CONTAINERS = "ephemeralContainers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container, and its place in one of the lists of the pod's spec. `env_references` are the entries of `env` with
    `valueFrom`.
    """

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
        """Its name for a sentence; one that cannot be a name is quoted and cut."""
        return self.name if DNS_LABEL.fullmatch(self.name) else shown(self.name)

    @property
    def pointer(self) -> str:
        """The JSON pointer of the container in its pod."""
        return f"/spec/{self.field.value}/{self.index}"

    @property
    def native_sidecar(self) -> bool:
        """Whether it is an init container that keeps running beside the others."""
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
        """Raises MalformedPodError where `raw` has not the shape of a pod."""
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
    for index, raw in enumerate(named(spec, field.value)):
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
    """The entries of `env` whose value comes from somewhere else.

    Raises MalformedPodError if a value is no text, or a reference no object.
    """
    found = []
    for entry in env:
        if type(entry.get("value")) is not str:  # most are: the rest is asked properly
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
    """The objects of a list in which each has a name."""
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
