"""The actor behind a request, and the checks of what an actor may do at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from model_contract.tokens import Purpose
from tracking_gate.errors import Forbidden, NotFound, Refusal


class ActorKind(StrEnum):
    """The columns of the policy's table."""

    PULL = "pull"
    PROMOTE = "promote"
    PERSON = "person"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A token or a person, and its projects: a service token has one. `details` are more facts for the audit log."""

    kind: ActorKind
    name: str
    projects: frozenset[str]
    details: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_token(self) -> bool:
        return self.kind in {ActorKind.PULL, ActorKind.PROMOTE}

    @property
    def project(self) -> str:
        """The project of a token, or of a person with one project; the ids of several have spaces between them."""
        return " ".join(sorted(self.projects))

    def owns(self, project: str | None) -> bool:
        return self.kind is ActorKind.ADMIN or (project is not None and project in self.projects)


def actor_kind_of(purpose: Purpose) -> ActorKind:
    return {Purpose.PULL: ActorKind.PULL, Purpose.PROMOTE: ActorKind.PROMOTE}[purpose]


def check_may_promote(actor: Actor, what: str) -> None:
    """Raise Forbidden if the actor is neither a promote token nor an admin; `what` is the subject of the message."""
    if actor.kind not in {ActorKind.PROMOTE, ActorKind.ADMIN}:
        raise Forbidden(f"{what} needs the promote token of the project")


def check_is_person(actor: Actor) -> None:
    if actor.is_token:
        raise Forbidden("this is for people of the project, not for a token")


def check_owns(actor: Actor, project: str | None) -> None:
    if not actor.owns(project):
        raise not_owned(actor, project)


def check_may_change(actor: Actor, project: str | None) -> None:
    """Raise Forbidden if the object is of a project of others; people also change an object that has no project."""
    if project is not None:
        check_owns(actor, project)


def not_found(actor: Actor, what: str) -> Refusal:
    """Return NotFound for a person; for a token Forbidden, so that it does not learn what other projects have."""
    return not_owned(actor) if actor.is_token else NotFound(f"there is no such {what}")


def not_owned(actor: Actor, project: str | None = "") -> Forbidden:
    """Return the error for an object of `project`, None for an object that has no project."""
    if actor.is_token:
        return Forbidden(f"not an object of project {actor.project}")
    if project is None:
        return Forbidden("this model has no project: an admin gives it one")
    return Forbidden("not an object of a project of yours")
