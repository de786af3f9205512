"""What an actor may do whatever it is about: the sentences with which it ends where they may not."""

from tracking_gate.actors import Actor, ActorKind
from tracking_gate.errors import Forbidden, NotFound, Refusal


def check_may_promote(actor: Actor, what: str) -> None:
    if actor.kind not in {ActorKind.PROMOTE, ActorKind.ADMIN}:
        raise Forbidden(f"{what} needs the promote token of the project")


def check_is_person(actor: Actor) -> None:
    if actor.is_token:
        raise Forbidden("this is for people of the project, not for a token")


def check_owns(actor: Actor, project: str | None) -> None:
    if not actor.owns(project):
        raise not_owned(actor, project)


def check_changeable(actor: Actor, project: str | None) -> None:
    """People change what is theirs, and runs and experiments that have no project yet."""
    if project is not None:
        check_owns(actor, project)


def not_found(actor: Actor, what: str) -> Refusal:
    """A token does not learn what there is beside its project."""
    return not_owned(actor) if actor.is_token else NotFound(f"there is no such {what}")


def not_owned(actor: Actor, project: str | None = "") -> Forbidden:
    if actor.is_token:
        return Forbidden(f"not an object of project {actor.project}")
    return Forbidden(
        "not an object of a project of yours"
        if project is not None
        else "this model has no project: an admin gives it one"
    )
