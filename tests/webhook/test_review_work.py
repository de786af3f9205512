"""Bounds on the work of one review: no body keeps the reviews of others waiting in the event loop."""

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import orjson
import pytest

from benchmarks.admission_in_process import KIB, pod_of
from testbed.api_server import review_of
from webhook.admission import admit
from webhook.environment import expand
from webhook.review import InvalidReview, parse
from webhook.server.request import LARGE, is_small
from webhook.settings import Settings

MOST_EVENTS = 120_000  # calls of functions, and returns, which take some 10 ms

Json = dict[str, Any]


def labels(count: int, form: str) -> Callable[[Json], None]:
    return lambda pod: pod["metadata"]["labels"].update({form.format(number): "" for number in range(count)})


def variables(count: int, value: str) -> Callable[[Json], None]:
    entry = {"name": "A", "value": value}
    return lambda pod: pod["spec"]["containers"][0]["env"].extend([entry] * count)


def parts(key: str, count: int, **more: Any) -> Callable[[Json], None]:
    return lambda pod: pod["spec"].setdefault(key, []).extend({"name": f"x{n}", **more} for n in range(count))


def mounts(count: int, path: str) -> Callable[[Json], None]:
    entry = {"name": "v", "mountPath": path}
    return lambda pod: pod["spec"]["containers"][0].update(volumeMounts=[entry] * count)


def field(name: str, value: Any) -> Callable[[Json], None]:
    return lambda pod: pod["spec"].update({name: value})


# Each fills 128 KiB, or as many parts as are decided in the loop.
IN_THE_LOOP: dict[str, Callable[[Json], None]] = {
    "labels like ours": labels(3000, "model-api.dominodatalab.con/{}"),
    "labels of ours": labels(3000, "model-api.dominodatalab.com/{}"),
    "labels that begin like ours": labels(5000, "model-api{}a.b/x"),
    "references without an end": variables(1, "$(" * 400),
    "references that double": variables(200, "$(A)$(A)"),
    "containers": parts("containers", 900),
    "containers with limits": parts("containers", 300, resources={"limits": {"cpu": "1.1", "memory": "3e9"}}),
    "init containers": parts("initContainers", 900),
    "volumes": parts("volumes", 900),
    "mounts": mounts(900, "/" + "." * 100),
    "a RuntimeClass of hyphens": field("runtimeClassName", "-" * 120_000),
    "a long list of names": field("dnsConfig", {"searches": ["a.b"] * 15_000}),
}


@pytest.mark.parametrize("change", IN_THE_LOOP.values(), ids=IN_THE_LOOP)
def test_review_that_is_decided_in_the_loop_is_bounded_work(pod: Json, change: Callable[[Json], None]) -> None:
    change(pod)
    body = orjson.dumps(review_of(pod))
    events = 0

    def count(*_: Any) -> None:
        nonlocal events
        events += 1

    assert is_small(body)
    sys.setprofile(count)
    try:
        answer = admit(parse(body), Settings())
    finally:
        sys.setprofile(None)
    assert answer["response"]["uid"]
    assert events < MOST_EVENTS


BESIDE_IT: dict[str, Callable[[Json], None]] = {
    "many containers": parts("containers", 5000),
    "many variables": variables(3000, ""),
    "many references": variables(1, "$(A)" * 20_000),
    "many empty lists": field("x", [[]] * 40_000),
}


@pytest.mark.parametrize("change", BESIDE_IT.values(), ids=BESIDE_IT)
def test_review_of_many_parts_is_decided_beside_the_loop(pod: Json, change: Callable[[Json], None]) -> None:
    ordinary = deepcopy(pod)
    change(pod)
    body = orjson.dumps(review_of(pod))

    assert len(body) <= LARGE
    assert not is_small(body)
    assert is_small(json.dumps(review_of(ordinary)).encode())
    assert is_small(json.dumps(review_of(pod_of(74 * KIB, 20))).encode())


def test_deep_body_is_refused_beside_the_loop() -> None:
    body = b"[" * 500 + b"]" * 500 + b" " * 1000

    with pytest.raises(InvalidReview):
        parse(body)
    assert not is_small(b"[" * 60_000 + b"]" * 60_000)


def test_reference_without_an_end_is_looked_for_once() -> None:
    """A search from each of the beginnings would take minutes."""
    assert expand("$(" * 100_000, {}) == "$(" * 100_000
    assert expand("$(A)" + "$(" * 100_000, {"A": "a"}) == "a" + "$(" * 100_000
