"""Reader of workflows: their events, and the few expressions that ours use. Any other expression is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

EXPRESSION: Final = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
NAME: Final = re.compile(r"[a-z]+(?:\.[A-Za-z_][A-Za-z0-9_-]*)+")
COMPARISON: Final = re.compile(rf"({NAME.pattern}) (==|!=) '([^']*)'")

Contexts = Mapping[str, Any]


class WorkflowError(Exception):
    """The workflow uses something that this reader does not know; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event: `name` as in `on:`, the `ref` of a branch or pull request, the changed files, the form's values."""

    name: str
    ref: str = "refs/heads/main"
    changed: tuple[str, ...] = ()
    inputs: Mapping[str, str] | None = None


def load(path: Path) -> dict[str, Any]:
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Any]:
    """Return the workflow with every value as it is written: `on` is a key here, not a boolean."""
    document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  it makes nothing but strings, lists and mappings
    if not isinstance(document, dict):
        raise WorkflowError("no workflow: the document is no mapping")
    return document


def starts(document: Mapping[str, Any], event: Event) -> bool:
    """Return True if the event starts the workflow; branches and paths are compared as they are written."""
    triggers = document["on"]
    if not isinstance(triggers, dict):
        raise WorkflowError("on: only a mapping is known here")
    if event.name not in triggers:
        return False
    wanted = triggers[event.name] or {}
    if unknown := set(wanted) - {"branches", "tags", "paths", "inputs"}:
        raise WorkflowError(f"on.{event.name}: {', '.join(sorted(unknown))} is not known here")
    if any(set("*?+[!") & set(pattern) for key in ("branches", "paths") for pattern in wanted.get(key, ())):
        raise WorkflowError(f"on.{event.name}: patterns are not known here")
    if "tags" in wanted and event.ref.startswith("refs/tags/"):
        return any(_is_tag(event.ref, pattern) for pattern in wanted["tags"])
    if "tags" in wanted and "branches" not in wanted:
        return False
    branch = event.ref.removeprefix("refs/heads/")
    return branch in wanted.get("branches", [branch]) and (
        "paths" not in wanted or bool(set(event.changed) & set(wanted["paths"]))
    )


def _is_tag(ref: str, pattern: str) -> bool:
    """Return True if the ref is a tag of a pattern such as `v*`; the star stands for everything but a slash."""
    start, star, end = pattern.partition("*")
    if set("*?+[!") & set(start + end) or end:
        raise WorkflowError(f"the pattern {pattern} of tags is not known here")
    name = ref.removeprefix("refs/tags/")
    return ref != name and (name.startswith(start) and "/" not in name[len(start) :] if star else name == start)


def inputs_of(declared: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs with the defaults. Raises WorkflowError for one that is not declared, missing or no choice."""
    if unknown := set(given) - set(declared):
        raise WorkflowError(f"inputs that are not declared: {', '.join(sorted(unknown))}")
    values = {name: given.get(name, field.get("default", "")) for name, field in declared.items()}
    for name, field in declared.items():
        if field.get("required") == "true" and not values[name]:
            raise WorkflowError(f"the input {name} is required")
        if values[name] not in field.get("options", [values[name]]):
            raise WorkflowError(f"{values[name]} is no choice of the input {name}")
    return values


def filled(text: str, contexts: Contexts) -> str:
    """Return a value with its expressions replaced."""
    return EXPRESSION.sub(lambda found: value_of(found[1], contexts), text)


def value_of(name: str, contexts: Contexts) -> str:
    """Return the value of `secrets.NAME` and the like, empty if unset. Raises WorkflowError for other expressions."""
    if not NAME.fullmatch(name):
        raise WorkflowError(f"the expression {name} is not known here")
    context, *keys = name.split(".")
    if context not in contexts:
        raise WorkflowError(f"the context {context} is not known here")
    found: Any = contexts[context]
    for key in keys:
        found = found.get(key, "") if isinstance(found, Mapping) else ""
    return str(found)


def holds(condition: str, contexts: Contexts) -> bool:
    """Return the truth of `a.b == 'text' && c.d != 'text'`, without regard to case, as GitHub does.

    Raises WorkflowError for any other condition.
    """
    results = []
    for part in condition.split(" && "):
        if not (found := COMPARISON.fullmatch(part.strip())):
            raise WorkflowError(f"the condition {part} is not known here")
        equal = value_of(found[1], contexts).lower() == found[3].lower()
        results.append(equal is (found[2] == "=="))
    return all(results)
