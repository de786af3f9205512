"""Some variables of a container's environment, resolved as the kubelet does it.

The last entry of a name wins; `env` wins over `envFrom`; `$(X)` takes the value of an earlier entry, `$$` is a dollar
sign; an empty value counts as absent. The webhook sees no Secret and no ConfigMap, so references stay
references.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from model_contract.names import SOURCE_PREFIX
from webhook.pod import Container, MalformedPodError, mapping, text

Json = Mapping[str, Any]

EXPANSION: Final = re.compile(r"((?:\$\$)+)|\$\(([^)]*)\)")  # dollar signs that are written twice, or a reference
# Characters. References to references can grow without bound; a value above this length is never valid, so the rest of
# it is not read.
LONGEST_VALUE: Final = 4096
NAME: Final = itemgetter("name")
KEY_REFERENCES: Final = {"configMapRef": "configMapKeyRef", "secretRef": "secretKeyRef"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Some variables of a container: given by value, given by reference, and not named in `env`."""

    values: Mapping[str, str]
    references: Mapping[str, Json]
    unnamed: frozenset[str]


def names_any(container: Container, variables: Collection[str]) -> bool:
    """Return True if `env` of the container has an entry for one of the variables."""
    return not frozenset(variables).isdisjoint(map(NAME, container.env))


def read_environment(container: Container, wanted: Collection[str]) -> Environment:
    """Return the `wanted` variables of `env`. A variable with an empty value is in none of the three groups."""
    sought = frozenset(wanted)
    known: dict[str, str] = {}
    references: dict[str, Json] = {}
    for entry in container.env:
        name, value = entry["name"], entry.get("value")
        if value:
            known[name] = expand(value, known) if "$" in value else value  # most values have no $: this saves a call
        elif reference := entry.get("valueFrom"):
            references[name] = reference
            known.pop(name, None)
            continue
        else:
            known[name] = ""
        if references:
            references.pop(name, None)
    return Environment(
        values={name: known[name] for name in wanted if known.get(name)},
        references={name: references[name] for name in wanted if name in references},
        unnamed=sought - known.keys() - references.keys(),
    )


def expand(value: str, known: Mapping[str, str]) -> str:
    """Return `value` with `$(X)` and `$$` expanded; a reference to an unknown variable stays as it is written."""
    if "$" not in value:
        return value
    expanded = ""
    for piece in pieces(value, known):
        expanded += piece
        if len(expanded) > LONGEST_VALUE:
            break
    return expanded


def pieces(value: str, known: Mapping[str, str]) -> Iterator[str]:
    # No reference ends after the last bracket: searching there for the end of each begun one would take quadratic time.
    end, closed = 0, value.rfind(")") + 1
    for match in EXPANSION.finditer(value, 0, closed):
        yield value[end : match.start()]
        yield match[1][::2] if match[1] else known.get(match[2], match[0])
        end = match.end()
    yield value[end:closed]
    yield value[closed:].replace("$$", "$")


def references_in(value: str) -> list[str]:
    """Return the names X of `$(X)` in an expanded value: the variables that nothing earlier gives by value."""
    return [match[2] for match in EXPANSION.finditer(value) if match[2]]


def escaped(value: str) -> str:
    """Return the text that the kubelet expands to `value`."""
    return value.replace("$", "$$")


def source_entries(container: Container, variable: str) -> tuple[Json, ...]:
    """Return one `env` entry for each `envFrom` source that may hold the variable.

    The entries are numbered in the order of the sources: the last one that exists wins, as with the kubelet.
    """
    found = []
    for index, source in enumerate(container.env_from):
        prefix = text(source, "prefix")
        key = variable.removeprefix(prefix)
        if key and variable.startswith(prefix):
            found.append({"name": f"{SOURCE_PREFIX}{index}_{variable}", "valueFrom": key_reference(source, key)})
    return tuple(found)


def key_reference(source: Json, key: str) -> Json:
    """Return a reference to one key of an `envFrom` source; optional, because the source may lack the key."""
    for kind, reference in KEY_REFERENCES.items():
        if source.get(kind) is not None:
            return {reference: {"name": text(mapping(source, kind), "name"), "key": key, "optional": True}}
    raise MalformedPodError("an entry of envFrom names no ConfigMap and no Secret")
