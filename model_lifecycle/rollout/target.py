"""The workload that a rollout changes: `deployment/<name>` or `inferenceservice/<name>`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from model_lifecycle.errors import InvalidError

NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")  # a DNS subdomain (RFC 1123)


class Kind(StrEnum):
    """Kinds of workload, by the names that kubectl takes."""

    DEPLOYMENT = "deployment"
    INFERENCE_SERVICE = "inferenceservice"


# Other names that kubectl takes or prints, such as deployment.apps/wine.
OTHER_NAMES: Final = {
    **dict.fromkeys(("deploy", "deployments", "deployment.apps", "deployments.apps"), Kind.DEPLOYMENT),
    **dict.fromkeys(
        ("isvc", "inferenceservices", "inferenceservice.serving.kserve.io", "inferenceservices.serving.kserve.io"),
        Kind.INFERENCE_SERVICE,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One workload of a namespace."""

    kind: Kind
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} in {self.namespace}"


def parse_target(text: str, namespace: str) -> Target:
    """Return the workload that `<kind>/<name>` names. Raises InvalidError."""
    kind_name, _, name = text.partition("/")
    kind = OTHER_NAMES.get(kind_name) or next((kind for kind in Kind if kind == kind_name), None)
    if kind is None or not NAME.fullmatch(name):
        raise InvalidError(f"{text!r:.100} is no workload: give deployment/<name> or inferenceservice/<name>")
    if not NAME.fullmatch(namespace):
        raise InvalidError(f"{namespace!r:.100} is no namespace")
    return Target(kind=kind, name=name, namespace=namespace)
