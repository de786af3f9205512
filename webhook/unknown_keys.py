"""Warnings about labels and annotations that look like the webhook's own and have no effect; each names the nearest."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from itertools import chain, islice
from typing import Any, Final

from model_contract import names
from model_contract.model_ref import shown
from webhook.decision import warning
from webhook.pod import Pod, text
from webhook.reasons import Reason

Json = Mapping[str, Any]

LABEL: Final = "label"
ANNOTATION: Final = "annotation"
NAMESPACE_LABEL: Final = "label of the namespace"
# Every key of the webhook without its prefix, with the places in which it has an effect.
KEYS: Final = {
    key.removeprefix(f"{names.DOMAIN}/"): places
    for key, places in {
        names.INJECT: (LABEL, ANNOTATION),
        names.CONTAINERS_ANNOTATION: (ANNOTATION,),
        names.CPU_LIMIT_ANNOTATION: (ANNOTATION,),
        names.MEMORY_LIMIT_ANNOTATION: (ANNOTATION,),
        names.DEADLINE_ANNOTATION: (ANNOTATION,),
        names.IMAGE_ANNOTATION: (ANNOTATION,),
        names.STATUS_ANNOTATION: (ANNOTATION,),
        names.ENABLED_LABEL: (NAMESPACE_LABEL,),
    }.items()
}
FIRST_WORD: Final = names.DOMAIN.partition(".")[0].replace("-", "")
LONGEST_WORD: Final = 20  # characters of the first word of a prefix, with hyphens and underscores
# Ratio of equal characters: reached by model-api.dominodatalabs.com, but not by model-api.example.com.
SIMILAR_PREFIX: Final = 0.8
# Characters of an unknown key that a warning quotes, so that there is space for the nearest key.
LONGEST_KEY: Final = 38
LONGEST_NAME: Final = 30
MAX_WARNINGS: Final = 5  # warnings; the API server drops those above 4,096 characters in all
MAX_COMPARED: Final = 16  # labels, and again annotations, that begin like a key of the webhook; each may take 60 us


def unknown_key_warnings(pod: Pod) -> tuple[str, ...]:
    """Return the warnings about labels and annotations of `pod`. Raises MalformedPodError if a label is no string."""
    found = chain(_faults(pod.labels, LABEL), _faults(pod.annotations, ANNOTATION))
    return tuple(warning(Reason.UNKNOWN_KEY, sentence) for sentence in islice(found, MAX_WARNINGS))


def _faults(values: Json, place: str) -> Iterator[str]:
    for key in islice(filter(_begins_like_ours, values), MAX_COMPARED):
        prefix, slash, name = key.strip().partition("/")
        if slash and _is_webhook_prefix(prefix):
            yield from _fault(values, place, key, name if prefix == names.DOMAIN and key == key.strip() else None)


def _begins_like_ours(key: str) -> bool:
    beginning = key.lstrip()[:LONGEST_WORD].lower()  # rules out most keys quickly
    return beginning.replace("-", "").replace("_", "").startswith(FIRST_WORD)


def _is_webhook_prefix(prefix: str) -> bool:
    return prefix == names.DOMAIN or SequenceMatcher(None, prefix.lower()[:100], names.DOMAIN).ratio() >= SIMILAR_PREFIX


def _fault(values: Json, place: str, key: str, name: str | None) -> Iterator[str]:
    """Yield the sentence about one key. `name` is the part behind the prefix; None if the prefix is misspelt."""
    if name is None:
        nearest = _nearest(key.strip().partition("/")[2])
        yield f"{shown(key[:LONGEST_KEY])} is unknown; the nearest is {names.DOMAIN}/{nearest}"
    elif name not in KEYS:
        yield f"{place} {names.DOMAIN}/{_short(name)} is unknown; the nearest is {_nearest(name)}"
    elif place not in KEYS[name]:
        yield f"{names.DOMAIN}/{name} is set as {place} and does nothing; set it as {KEYS[name][0]}"
    elif place == LABEL:
        yield from _label_value(name, text(values, key))


def _label_value(name: str, value: str) -> Iterator[str]:
    """Yield the sentence about the label `inject` if its value is not "false", the only one with an effect."""
    if value == "true":
        yield f'{names.DOMAIN}/{name} "true" does nothing as label; set it as annotation'
    else:
        yield f'label {names.DOMAIN}/{name} is {shown(value)} and does nothing; the nearest is "false"'


def _nearest(name: str) -> str:
    return get_close_matches(name.strip().lower().replace("_", "-")[:63], KEYS, n=1, cutoff=0)[0]


def _short(name: str) -> str:
    return name if name.isascii() and name.isprintable() and len(name) <= LONGEST_NAME else shown(name[:LONGEST_NAME])
