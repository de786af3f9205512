"""Objects of which some fields depend on values of the chart: a patch of kustomize becomes a choice between values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

OPEN, CLOSE = "\ue000", "\ue001"  # around an expression of a template, in a text
# Lists of Kubernetes that a patch joins by a key of their items; it replaces others.
MERGE_KEYS: Final = {
    "containers": "name",
    "env": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}

Json = Any


class Absent:
    """The value of a field that is not there."""


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Case:
    """A value, and the condition under which a field has it; an empty condition always holds."""

    condition: str
    value: Json


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of a field or an item of a list: that of the first case whose condition holds."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """An expression that gives a number or another value that is not a text."""

    expression: str


@dataclass(frozen=True, slots=True)
class Block:
    """An expression that gives the lines of a mapping or a list."""

    expression: str


class Entries(str):
    """The key of entries that a value of the chart adds to a mapping; it is the expression of that value."""

    __slots__ = ()


def expression(text: str) -> str:
    """Return a text that a template replaces by the value of the expression."""
    return f"{OPEN}{text}{CLOSE}"


def patched(base: Json, patch: Json, condition: str, name: str = "") -> Json:
    """Return the object that is joined with the patch if the condition holds. Raises ValueError.

    `name` is the field that holds the object.
    """
    if isinstance(base, dict) and isinstance(patch, dict):
        joined = {
            key: patched(value, patch[key], condition, key) if key in patch else value for key, value in base.items()
        }
        added = {
            key: optional(value, condition) for key, value in patch.items() if key not in base and value is not None
        }
        return joined | added
    if isinstance(base, list) and isinstance(patch, list) and name in MERGE_KEYS:
        return _joined_lists(base, patch, condition, MERGE_KEYS[name])
    if base == patch:
        return base
    joinable = isinstance(patch, str | int | None)
    if isinstance(base, Choice) and not joinable:
        raise ValueError(f"two components add {name}: give the object an empty one, so that they can be joined")
    return chosen(base, ABSENT if patch is None else patch, condition)


def _joined_lists(base: list[Json], patch: list[Json], condition: str, key: str) -> list[Json]:
    """Return the list with the new items of the patch first, as kustomize has them; an item that it changes stays."""
    named = {item[key]: item for item in base if isinstance(item, dict) and key in item}
    changes = {item[key]: patched(named[item[key]], item, condition) for item in patch if item[key] in named}
    added = [optional(item, condition) for item in patch if item[key] not in named]
    return [*added, *(changes.get(item[key], item) if isinstance(item, dict) else item for item in base)]


def optional(value: Json, condition: str) -> Choice:
    """Return a field that is there if the condition holds."""
    return Choice((Case(condition, value), Case("", ABSENT)))


def chosen(base: Json, value: Json, condition: str) -> Choice:
    """Return a field with this value if the condition holds, and otherwise as it is."""
    others = base.cases if isinstance(base, Choice) else (Case("", base),)
    return Choice((Case(condition, value), *others))


def replaced(found: Json, path: str, change: Callable[[Json], Json]) -> Json:
    """Return the object with the field at the path changed; an absent field is ABSENT. Raises ValueError.

    An item of a list is named by its `name`, or by its number among the items that do not depend on a value.
    """
    key, _, rest = path.partition(".")
    if isinstance(found, list):
        plain = [number for number, item in enumerate(found) if not isinstance(item, Choice)]
        fitting = [number for number in plain if isinstance(found[number], dict) and found[number].get("name") == key]
        place = plain[int(key)] if key.isdigit() else next(iter(fitting), None)
        if place is None:
            raise ValueError(f"there is no {path}")
        new = replaced(found[place], rest, change) if rest else change(found[place])
        return [*found[:place], new, *found[place + 1 :]]
    if not isinstance(found, dict) or (rest and key not in found):
        raise ValueError(f"there is no {path}")
    return found | {key: replaced(found[key], rest, change) if rest else change(found.get(key, ABSENT))}


def with_texts(found: Json, change: Callable[[str], str]) -> Json:
    """Return the object with each of its texts changed."""
    if isinstance(found, str):
        return found if isinstance(found, Entries) else change(found)
    if isinstance(found, list):
        return [with_texts(item, change) for item in found]
    if isinstance(found, Mapping):
        return {key: with_texts(value, change) for key, value in found.items()}
    return found
