"""Environments resolve as the kubelet resolves them."""

import pytest

from webhook.environment import LONGEST_VALUE, escaped, expand, read_environment
from webhook.pod import Pod


def environment_of(*entries: dict[str, object]) -> dict[str, str]:
    pod = Pod.read({"metadata": {}, "spec": {"containers": [{"name": "model", "env": list(entries)}]}})
    return dict(read_environment(pod.containers[0], ("X", "Y")).values)


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("$(A)", "a"),
        ("$(A)-$(B)", "a-b"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$A", "$A"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("100$", "100$"),
        ("$(NESTED)", "$(A)"),
        ("$(A)$$(B", "a$(B"),
        ("$(A$(B)", "$(A$(B)"),
        ("$$$$(A)$$$$", "$$(A)$$"),
        ("$(A)$", "a$"),
        ("$($$A)", "$($$A)"),
    ],
)
def test_references_expand_once_and_only_to_what_is_known(value: str, expanded: str) -> None:
    assert expand(value, {"A": "a", "B": "b", "NESTED": "$(A)"}) == expanded


@pytest.mark.parametrize("value", ["wine", "$(A)", "$$", "a$b$$(c)"])
def test_escaped_value_expands_to_itself(value: str) -> None:
    assert expand(escaped(value), {"A": "a"}) == value


def test_last_entry_of_a_name_wins_and_sees_the_ones_before() -> None:
    assert environment_of({"name": "X", "value": "1"}, {"name": "X", "value": "$(X)2"}) == {"X": "12"}


def test_later_entry_is_not_seen_by_an_earlier_one() -> None:
    assert environment_of({"name": "X", "value": "$(Y)"}, {"name": "Y", "value": "y"}) == {"X": "$(Y)", "Y": "y"}


def test_value_behind_a_reference_wins_and_the_other_way_round() -> None:
    reference = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}

    assert environment_of(reference, {"name": "X", "value": "1"}) == {"X": "1"}
    assert environment_of({"name": "X", "value": "1"}, reference) == {}


def test_references_that_grow_without_bound_are_cut() -> None:
    doubling = [{"name": "X", "value": "x"}, *({"name": "X", "value": "$(X)$(X)"} for _ in range(200))]

    assert len(environment_of(*doubling)["X"]) <= 2 * LONGEST_VALUE
