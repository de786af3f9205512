"""A body that is no AdmissionReview is refused without quoting it; an answer has every field that it needs."""

import base64
from typing import Any

import orjson
import pytest

from testbed.api_server import UID, patch_of, review_of
from webhook.admission import admit, decide
from webhook.decision import Decision
from webhook.reasons import Reason
from webhook.review import InvalidReview, answer, parse
from webhook.settings import Settings

GOOD = review_of({"metadata": {}, "spec": {"containers": []}})


def nested(levels: int) -> bytes:
    """A review whose innermost list is on the given level."""
    inside = levels - 3
    return orjson.dumps(GOOD).replace(b'"containers":[]', b'"containers":' + b"[" * (inside - 1) + b"]" * (inside - 1))


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        pytest.param(b"", "the body is not JSON", id="empty"),
        pytest.param(b"kind: AdmissionReview", "the body is not JSON", id="yaml"),
        pytest.param(b"\xff\xfe", "the body is not JSON", id="not-utf-8"),
        pytest.param(b'{"a": NaN}', "the body is not JSON", id="nan"),
        pytest.param(b'{"a": -Infinity}', "the body is not JSON", id="infinity"),
        pytest.param(rb'{"a": "\ud83c"}', "the body is not JSON", id="half-a-surrogate-pair"),
        pytest.param(b"[" * 100_000, "the body is not JSON", id="never-closed"),
        pytest.param(b"[]", "the body is not a JSON object", id="list"),
        pytest.param(b"null", "the body is not a JSON object", id="null"),
        pytest.param(b"{}", "kind is not AdmissionReview", id="no-kind"),
        pytest.param(orjson.dumps(GOOD | {"kind": "Pod"}), "kind is not AdmissionReview", id="other-kind"),
        pytest.param(
            orjson.dumps(GOOD | {"apiVersion": "admission.k8s.io/v1beta1"}),
            "apiVersion is not admission.k8s.io/v1",
            id="v1beta1",
        ),
        pytest.param(
            orjson.dumps({key: GOOD[key] for key in ("kind", "apiVersion")}),
            "request is not an object",
            id="no-request",
        ),
        pytest.param(orjson.dumps(GOOD | {"request": {}}), "request.uid is not a string", id="no-uid"),
        pytest.param(orjson.dumps(GOOD | {"request": {"uid": ""}}), "request.uid is not a string", id="empty-uid"),
        pytest.param(
            orjson.dumps(GOOD | {"request": {"uid": 7}}), "request.uid is not a string", id="uid-that-is-a-number"
        ),
        pytest.param(nested(65), "the body is nested deeper than 64 levels", id="65-levels"),
    ],
)
def test_body_that_is_no_review_is_refused(body: bytes, verdict: str) -> None:
    with pytest.raises(InvalidReview, match=f"^{verdict}$") as refused:
        parse(body)

    assert refused.value.status == 400


def test_body_with_64_levels_is_read() -> None:
    assert parse(nested(64))["kind"] == "AdmissionReview"


@pytest.mark.parametrize("review", [{}, GOOD | {"apiVersion": "v1"}, GOOD | {"request": []}])
def test_review_that_was_not_parsed_is_checked_too(review: dict[str, Any], settings: Settings) -> None:
    with pytest.raises(InvalidReview):
        decide(review, settings)


def test_answer_to_an_injection_holds_the_patch(pod: dict[str, Any], settings: Settings) -> None:
    response = admit(review_of(pod), settings)

    assert response["apiVersion"] == "admission.k8s.io/v1"
    assert response["kind"] == "AdmissionReview"
    assert response["response"].keys() == {"uid", "allowed", "patchType", "patch", "auditAnnotations"}
    assert response["response"]["uid"] == UID
    assert response["response"]["patchType"] == "JSONPatch"
    assert orjson.loads(base64.b64decode(response["response"]["patch"])) == patch_of(response)


def test_answer_without_changes_has_no_patch_and_no_patch_type(settings: Settings) -> None:
    assert admit(GOOD, settings)["response"] == {
        "uid": UID,
        "allowed": True,
        "auditAnnotations": {"reason": "not_model_api"},
    }


def test_answer_to_a_denial_says_code_reason_and_message() -> None:
    denial = Decision(reason=Reason.TOO_MANY_MODELS, message="m" * 2000)

    response = answer(GOOD, denial)["response"]

    assert response["allowed"] is False
    assert response["status"] == {"code": 422, "reason": "too_many_models", "message": "m" * 1021 + "..."}
    assert "patch" not in response


def test_answer_cuts_warnings_to_what_kubectl_shows() -> None:
    warned = Decision(reason=Reason.INCOMPLETE_ENV, warnings=("w" * 120, "w" * 121))

    assert answer(GOOD, warned)["response"]["warnings"] == ["w" * 120, "w" * 117 + "..."]
