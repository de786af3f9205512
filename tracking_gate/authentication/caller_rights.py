"""Rights of a caller by its claims: what a token says, or what the headers of a proxy say."""

from collections.abc import Mapping, Sequence
from typing import Any

from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.issuers_file import Caller

Claims = Mapping[str, Any]


def actor_of(callers: Sequence[Caller], claims: Claims, name: str, details: Mapping[str, str]) -> Actor | None:
    """Return the actor with the rights of the entries whose claims fit, None if none fits."""
    rights = joined_rights([caller for caller in callers if has_claims(claims, caller.claims)])
    return Actor(kind=rights[0], name=name, projects=rights[1], details=details) if rights else None


def joined_rights(callers: Sequence[Caller]) -> tuple[ActorKind, frozenset[str]] | None:
    """Return the rights of the first entry, with the projects of all entries that give these rights; None without one.

    An entry whose pod has no project gives no rights.
    """
    given = [caller for caller in callers if caller.projects or caller.rights is ActorKind.ADMIN]
    if not given:
        return None
    same = [caller.projects for caller in given if caller.rights is given[0].rights]
    return given[0].rights, frozenset().union(*same)


def has_claims(claims: Claims, wanted: Claims) -> bool:
    """Return True if the token has each wanted claim with its value; in a claim that is a list, as one of the items."""
    return all(any(_same(one, value) for one in _items(claims.get(name))) for name, value in wanted.items())


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other  # 1 is not true
