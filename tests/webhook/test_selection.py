"""The rules for the API server and the checks of the webhook agree."""

from typing import Any

import pytest

from model_contract.names import MODEL_VARIABLES
from webhook.reasons import Reason
from webhook.selection import Part, evaluate, first_failure, rules
from webhook.settings import Settings


def test_pod_of_the_example_passes_every_rule(pod: dict[str, Any], settings: Settings) -> None:
    results = evaluate(pod, "domino-compute", {"model-api.dominodatalab.com/enabled": "true"}, settings)

    assert [result.rule.name for result in results if not result.passed] == []


def test_namespace_with_unknown_labels_does_not_decide(pod: dict[str, Any], settings: Settings) -> None:
    results = evaluate(pod, "domino-compute", None, settings)

    assert results[0].passed is None
    assert first_failure(results) is None


@pytest.mark.parametrize(
    "labels", [{}, {"model-api.dominodatalab.com/enabled": "false"}], ids=["unlabelled", "disabled"]
)
def test_namespace_that_is_not_enabled_gets_no_models(
    pod: dict[str, Any], settings: Settings, labels: dict[str, str]
) -> None:
    assert first_failure(evaluate(pod, "domino-compute", labels, settings)) is Reason.NAMESPACE_NOT_ENABLED


def test_first_rule_that_fails_decides(settings: Settings) -> None:
    results = evaluate({}, "kube-system", {}, settings)

    assert [result.passed for result in results] == [False, False, False, True, True, True, False]
    assert first_failure(results) is Reason.NAMESPACE_NOT_ENABLED


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"metadata": [], "spec": "x"},
        {"metadata": {"labels": 1, "annotations": "kubernetes.io/config.mirror"}, "spec": {"containers": [1]}},
    ],
    ids=["empty", "wrong-types", "wrong-types-below"],
)
def test_rules_never_fail_on_what_is_no_pod(pod: dict[str, Any], settings: Settings) -> None:
    assert first_failure(evaluate(pod, "domino-compute", None, settings)) is Reason.NOT_MODEL_API


def test_rules_are_written_for_the_api_server() -> None:
    for rule in rules("domino-platform"):
        assert (rule.cel is None) is (rule.part is not Part.MATCH_CONDITION)
        assert (rule.requirement is None) is (rule.part is Part.MATCH_CONDITION)

    texts = {rule.reason: rule.text for rule in rules("domino-platform")}
    assert texts[Reason.EXCLUDED_NAMESPACE] == (
        "kubernetes.io/metadata.name NotIn [kube-node-lease, kube-public, kube-system, domino-platform]"
    )
    assert all(f'"{variable}"' in texts[Reason.NO_MODEL_VARIABLES] for variable in MODEL_VARIABLES)
