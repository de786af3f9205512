"""Who asks, and what kind of right that gives."""

from dataclasses import dataclass
from enum import StrEnum

from model_contract.tokens import Purpose


class ActorKind(StrEnum):
    """The columns of the policy's table."""

    PULL = "pull"
    PROMOTE = "promote"
    PERSON = "person"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """`projects` are those whose objects the actor may touch: one for a token, all of their own for a person."""

    kind: ActorKind
    name: str
    projects: frozenset[str]
    fingerprint: str | None = None

    @property
    def is_token(self) -> bool:
        return self.kind in {ActorKind.PULL, ActorKind.PROMOTE}

    @property
    def project(self) -> str:
        """Of a token."""
        return next(iter(self.projects))

    def owns(self, project: str | None) -> bool:
        return self.kind is ActorKind.ADMIN or (project is not None and project in self.projects)


def actor_kind_of(purpose: Purpose) -> ActorKind:
    return {Purpose.PULL: ActorKind.PULL, Purpose.PROMOTE: ActorKind.PROMOTE}[purpose]
