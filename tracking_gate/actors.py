"""Who asks, and what kind of right that gives."""

from dataclasses import dataclass
from enum import StrEnum

from model_contract.tokens import Purpose


class Kind(StrEnum):
    """The columns of the policy's table."""

    PULL = "pull"
    PROMOTE = "promote"
    PERSON = "person"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """`projects` are those whose objects the actor may touch: one for a token, all of their own for a person."""

    kind: Kind
    name: str
    projects: frozenset[str]
    fingerprint: str | None = None

    @property
    def is_token(self) -> bool:
        return self.kind in {Kind.PULL, Kind.PROMOTE}

    @property
    def project(self) -> str:
        """Of a token."""
        return next(iter(self.projects))

    def owns(self, project: str | None) -> bool:
        return self.kind is Kind.ADMIN or (project is not None and project in self.projects)


def kind_of(purpose: Purpose) -> Kind:
    return {Purpose.PULL: Kind.PULL, Purpose.PROMOTE: Kind.PROMOTE}[purpose]
