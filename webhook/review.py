"""The AdmissionReview around a pod: the request is checked, the response is written."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import orjson

from webhook.decision import Decision

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
CONTAINERS: Final = {dict, list}
MAX_DEPTH: Final = 64  # levels of JSON; a pod has about 12, and every level costs the reader a stack frame
LONGEST_WARNING: Final = 120  # characters; the API server cuts at 256 and drops what is above 4096 in sum
LONGEST_MESSAGE: Final = 1024


class InvalidReview(ValueError):  # noqa: N818  a verdict about a document, not a bug
    """The body is no AdmissionReview that can be answered. The message quotes nothing of the body."""

    status: Final = 400


def parse(body: bytes) -> dict[str, Any]:
    """Return the review in `body`. Raises InvalidReview if it is none, or if its version is not admission.k8s.io/v1."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidReview("the body is not JSON") from None
    if not isinstance(review, dict):
        raise InvalidReview("the body is not a JSON object")
    # Each level has a bracket; to count those of a usual pod takes a tenth of the time.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and deeper_than(MAX_DEPTH, review):
        raise InvalidReview(f"the body is nested deeper than {MAX_DEPTH} levels")
    request_of(review)
    return review


def request_of(review: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the request of the review. Raises InvalidReview if kind, version, request or uid is wrong."""
    if review.get("kind") != KIND:
        raise InvalidReview(f"kind is not {KIND}")
    if review.get("apiVersion") != API_VERSION:
        raise InvalidReview(f"apiVersion is not {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict):
        raise InvalidReview("request is not an object")
    if not isinstance(request.get("uid"), str) or not request["uid"]:
        raise InvalidReview("request.uid is not a string")
    return request


def answer(review: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """Return the AdmissionReview that holds the decision. It has a patch only if something changes."""
    response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": decision.allowed}
    if not decision.allowed:
        response["status"] = {
            "code": decision.reason.status,
            "reason": decision.reason.value,
            "message": cut(decision.message, LONGEST_MESSAGE),
        }
    if decision.operations:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(decision.operations)).decode()}
    if decision.warnings:
        response["warnings"] = [cut(warning, LONGEST_WARNING) for warning in decision.warnings]
    response["auditAnnotations"] = {"reason": decision.reason.value}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def deeper_than(limit: int, value: dict[str, Any]) -> bool:
    """Return True if objects and lists are nested more than `limit` deep; `value` itself is the first level."""
    level: list[Any] = [value]
    for _ in range(limit):
        # Runs for every value of a review: function calls, and checks for subclasses that JSON does not have, would
        # double its time.
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in CONTAINERS
        ]
        if not level:
            return False
    return True


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
