"""The reader of workflows refuses what it does not know: a test that ignored it would prove nothing."""

import pytest

from testbed.github_workflow import Event, WorkflowError, filled, holds, inputs_of, starts

CONTEXTS = {"github": {"sha": "abc", "ref": "refs/heads/main"}, "secrets": {"TOKEN": "t"}, "inputs": {"project": "P"}}


def test_expressions_are_replaced_and_absent_values_are_empty() -> None:
    assert filled("${{ github.sha }}-${{secrets.TOKEN}}-${{ secrets.NONE }}.", CONTEXTS) == "abc-t-."


@pytest.mark.parametrize(
    "expression", ["toJSON(secrets)", "secrets[inputs.x]", "secrets", "env.HOME", "github.sha || 'x'", "secrets.*"]
)
def test_expression_that_is_not_known_is_refused(expression: str) -> None:
    with pytest.raises(WorkflowError, match="is not known here"):
        filled(f"${{{{ {expression} }}}}", CONTEXTS)


def test_conditions_are_compared_as_github_does() -> None:
    assert holds("github.ref == 'refs/heads/MAIN' && inputs.project == 'p'", CONTEXTS)
    assert not holds("github.ref == 'refs/heads/main' && inputs.project != 'P'", CONTEXTS)


@pytest.mark.parametrize("condition", ["always()", "github.ref", "github.ref == 'a' || github.ref == 'b'", "true"])
def test_condition_that_is_not_known_is_refused(condition: str) -> None:
    with pytest.raises(WorkflowError, match="is not known here"):
        holds(condition, CONTEXTS)


def test_inputs_have_their_defaults_and_their_choices() -> None:
    declared = {"a": {"required": "true", "options": ["x", "y"]}, "b": {"default": "z"}}

    assert inputs_of(declared, {"a": "x"}) == {"a": "x", "b": "z"}
    for wrong in ({}, {"a": "w"}, {"a": "x", "c": ""}):
        with pytest.raises(WorkflowError):
            inputs_of(declared, wrong)


def test_pattern_is_refused_rather_than_read_wrongly() -> None:
    with pytest.raises(WorkflowError, match="patterns are not known here"):
        starts({"on": {"push": {"branches": ["release/**"]}}}, Event(name="push"))


def test_tag_starts_what_names_its_pattern() -> None:
    of_tags = {"on": {"push": {"tags": ["v*"]}}}

    assert starts(of_tags, Event(name="push", ref="refs/tags/v1.0"))
    for ref in ("refs/tags/w1.0", "refs/tags/v1/0", "refs/heads/v1.0"):
        assert not starts(of_tags, Event(name="push", ref=ref))
    assert not starts({"on": {"push": {"branches": ["main"]}}}, Event(name="push", ref="refs/tags/v1.0"))
    with pytest.raises(WorkflowError, match="is not known here"):
        starts({"on": {"push": {"tags": ["v*.*"]}}}, Event(name="push", ref="refs/tags/v1.0"))
