"""The check that only the webhook's init container gets its token, from the volume or from a project's Secret.

It guards against mistakes, and against a pod that takes another project's token. A person who may create pods that are
no model APIs can still read the Secrets of the namespace.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from model_contract.names import INIT_CONTAINER, TOKEN_VOLUME, pull_secret
from webhook.decision import RefusalError
from webhook.mutation.injection import Injection
from webhook.mutation.placement import find_init_container
from webhook.pod import Container, mapping, objects
from webhook.reasons import Reason

Json = Mapping[str, Any]

ALL_TOKENS: Final = pull_secret("")  # the prefix of every project's Secret


def check_token_exposure(injection: Injection) -> None:
    """Raise RefusalError if another container mounts the token, or if a variable or a volume takes it."""
    if not injection.has_token:
        return
    pod = injection.pod
    ours = find_init_container(pod)
    for container in pod.all_containers:
        if container is not ours and any(mount["name"] == TOKEN_VOLUME for mount in container.mounts):
            raise _exposed(
                f"container {container.title} mounts volume {TOKEN_VOLUME}, which is for {INIT_CONTAINER} alone"
            )
        if secret := next(_tokens_in_environment(container), None):
            raise _exposed(f"container {container.title} takes a variable from {_named(secret)}")
    for volume in pod.volumes:
        if volume["name"] != TOKEN_VOLUME and (secret := next(_tokens_in_volume(volume), None)):
            raise _exposed(f"volume {volume['name'][:63]} holds {_named(secret)}")


def _exposed(sentence: str) -> RefusalError:
    return RefusalError(Reason.TOKEN_EXPOSED, f"{sentence}; remove it from the pod")


def _named(secret: str) -> str:
    return f"Secret {secret[:80]}, whose token is for {INIT_CONTAINER} alone"


def _tokens_in_environment(container: Container) -> Iterator[str]:
    for entry in container.env_references:
        yield from _tokens(mapping(entry["valueFrom"], "secretKeyRef"), "name")
    for source in container.env_from:
        yield from _tokens(mapping(source, "secretRef"), "name")


def _tokens_in_volume(volume: Json) -> Iterator[str]:
    yield from _tokens(mapping(volume, "secret"), "secretName")
    for source in objects(mapping(volume, "projected"), "sources"):
        yield from _tokens(mapping(source, "secret"), "name")


def _tokens(reference: Json, key: str) -> Iterator[str]:
    name = reference.get(key)
    if isinstance(name, str) and name.startswith(ALL_TOKENS):
        yield name
