"""Each file in cases/ is one claim, in up to three documents.

1. The expectation: `rule`, `reason`, and the warnings or the message; also the settings and the request, if they
   matter. docs/reference/admission.md says what each rule id means.
2. The pod as it comes in.
3. The pod as it is admitted, if it is changed. An object may show only the fields that matter; a list shows all its
   items, in order.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from testbed.api_server import apply_answer, patch_of, review_of
from testbed.pod_parts import LOCAL_VOLUMES
from webhook.admission import admit
from webhook.reasons import Outcome, Reason
from webhook.review import parse
from webhook.settings import PREFIX, Settings

CASES = Path(__file__).parent / "cases"
# No case can show these: HTTP and bugs are in test_server and test_app (B1, B3, B29), the AdmissionReview in
# test_review (B2, B4), settings in test_settings (B30).
SHOWN_ELSEWHERE = {"B1", "B2", "B3", "B4", "B29", "B30"}
RULES_WITHOUT_CODE = {"B22", "B23", "B26", "B27", "B28"}  # they end no review
ALL_RULES = {reason.rule for reason in Reason} | SHOWN_ELSEWHERE | RULES_WITHOUT_CODE


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file; the fields without a comment are keys of its first document."""

    name: str  # the file's
    rule: str
    reason: Reason
    incoming: dict[str, Any]  # second document
    admitted: dict[str, Any] | None  # third document
    message: str | None = None
    warnings: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Case":
        expected, incoming, *admitted = yaml.safe_load_all(path.read_text())
        reason = Reason(expected.pop("reason"))
        return cls(
            name=path.stem, incoming=incoming, admitted=admitted[0] if admitted else None, reason=reason, **expected
        )

    def review(self, pod: dict[str, Any]) -> dict[str, Any]:
        settings = Settings.from_mapping({PREFIX + key: value for key, value in self.settings.items()})
        return admit(parse(orjson.dumps(review_of(pod, **self.request))), settings)


ALL = [Case.read(path) for path in sorted(CASES.glob("*.yaml"))]
each_case = pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)


@each_case
def test_case_is_answered_as_it_says(case: Case) -> None:
    response = case.review(case.incoming)["response"]

    assert response["auditAnnotations"] == {"reason": case.reason}
    assert response.get("warnings", []) == case.warnings
    assert response["allowed"] is (case.reason.outcome is not Outcome.DENIED)
    if not response["allowed"]:
        assert response["status"] == {"code": case.reason.status, "reason": case.reason, "message": case.message}


@each_case
def test_case_is_admitted_as_it_shows(case: Case) -> None:
    admitted = apply_answer(case.incoming, case.review(case.incoming))

    assert differences(admitted, case.admitted or case.incoming) == []


@each_case
def test_case_keeps_what_the_author_wrote(case: Case) -> None:
    admitted = apply_answer(case.incoming, case.review(case.incoming))

    assert lost(admitted, case.incoming) == []


@each_case
def test_case_applied_twice_is_applied_once(case: Case) -> None:
    admitted = apply_answer(case.incoming, case.review(case.incoming))

    again = case.review(admitted)

    assert patch_of(again) == []
    assert again["response"].get("warnings", []) == case.warnings
    expected = Reason.ALREADY_INJECTED if case.reason is Reason.INJECTED else case.reason
    assert again["response"]["auditAnnotations"] == {"reason": expected}


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in ALL} | SHOWN_ELSEWHERE == ALL_RULES


def test_every_reason_has_a_case_of_its_rule() -> None:
    shown = {(case.reason, case.rule) for case in ALL}

    outcomes = {Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.DENIED}
    by_api_server = {Reason.NAMESPACE_NOT_ENABLED}
    assert {reason for reason in Reason if reason.outcome in outcomes} - {
        reason for reason, _ in shown
    } == by_api_server
    assert [
        reason for reason, rule in shown if reason.outcome in {Outcome.SKIPPED, Outcome.DENIED} and reason.rule != rule
    ] == []


def differences(actual: Any, expected: Any, where: str = "pod") -> list[str]:
    """Return each path at which `actual` differs from `expected`."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [
            line for key, value in expected.items() for line in differences(actual.get(key), value, f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [
            line
            for index, pair in enumerate(zip(actual, expected, strict=True))
            for line in differences(*pair, f"{where}[{index}]")
        ]
    return [] if actual == expected else [f"{where} is {actual!r}, not {expected!r}"]


def lost(actual: Any, written: Any, where: str = "pod") -> list[str]:
    """Return the path of each `written` part that is gone, changed or out of order. `null` counts as absent.

    The list of volumes in an annotation gets longer; its cases show that it begins as before.
    """
    if isinstance(written, dict) and isinstance(actual, dict):
        return [
            line
            for key, value in written.items()
            if key != LOCAL_VOLUMES
            for line in lost(actual.get(key), value, f"{where}.{key}")
        ]
    if isinstance(written, list) and isinstance(actual, list):
        remaining = iter(actual)
        return [
            f"{where}[{index}]" for index, item in enumerate(written) if all(lost(there, item) for there in remaining)
        ]
    return [] if actual == written or written is None else [where]
