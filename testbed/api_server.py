"""The API server's part of an admission: the review that it sends, and its use of the answer."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import jsonpatch
import orjson

UID: Final = "705ab4f5-6393-11e8-b7cc-42010a800002"


def review_of(pod: Mapping[str, Any], **request: Any) -> dict[str, Any]:
    """Return the AdmissionReview for the creation of `pod`; `request` replaces fields of the request."""
    metadata = pod.get("metadata")
    resource = {"group": "", "version": "v1"}
    filled = {
        "uid": UID,
        "kind": resource | {"kind": "Pod"},
        "resource": resource | {"resource": "pods"},
        "requestKind": resource | {"kind": "Pod"},
        "requestResource": resource | {"resource": "pods"},
        "namespace": metadata.get("namespace", "default") if isinstance(metadata, dict) else "default",
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "groups": ["system:authenticated"],
        },
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": filled | request}


def patch_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of an answer; none if it has no patch."""
    operations: list[dict[str, Any]] = orjson.loads(base64.b64decode(answer["response"].get("patch", "W10=")))
    return operations


def apply_answer(pod: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod as the API server stores it."""
    admitted: dict[str, Any] = jsonpatch.apply_patch(pod, patch_of(answer))
    return admitted
