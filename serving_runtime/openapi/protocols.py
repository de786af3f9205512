"""The other protocols' paths: Open Inference Protocol V2, KServe V1, Domino's envelope."""

import re
from collections.abc import Mapping
from typing import Any, Final

from serving_runtime.openapi.schemas import Schema, cells, of_column, of_tensor, row
from serving_runtime.protocols import domino, kserve_v1
from serving_runtime.protocols.open_inference import protocol as open_inference
from serving_runtime.signature import Signature

VARIABLE: Final = re.compile(r"\{(\w+)\}")
DATATYPES: Final = (
    "BOOL",
    *(f"{sign}INT{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)),
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)
FAULTS: Final = ("400", "404", "408", "413", "415", "429", "500", "503", "504")

TENSOR: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"enum": list(DATATYPES)},
        "parameters": {"type": "object"},
        "data": {
            "type": "array",
            "description": "nested or flat, in row-major order; left out where it follows in binary",
        },
    },
    "required": ["name", "shape", "datatype"],
}
INFER: Final[Schema] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
                "required": ["name"],
            },
        },
    },
    "required": ["inputs"],
}
INFERRED: Final[Schema] = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
    },
    "required": ["model_name", "outputs"],
}
# Errors of V1 and V2 have a sentence under the key of KServe's, and beside it what every protocol here says.
FAULT: Final[Schema] = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "error_code": {"type": "string"}, "details": {"type": "array"}},
    "required": ["error"],
}
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Tensor": TENSOR,
    "InferenceRequest": INFER,
    "InferenceResponse": INFERRED,
    "Fault": FAULT,
}


def paths(signature: Signature, model: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{
            path: {"post": _operation("v2", path, model, _ref("InferenceRequest"), _ref("InferenceResponse"))}
            for path in open_inference.PREDICTIONS
        },
        **{path: {method.lower(): _page("v2", path, model)} for method, path, _ in open_inference.PAGES},
        **{
            path: {"post": _operation("v1", path, model, _instances(signature), _predictions())}
            for path in kserve_v1.PREDICTIONS
        },
        **{path: {method.lower(): _page("v1", path, model)} for method, path, _ in kserve_v1.PAGES},
        **{
            path: {"post": _operation("domino", path, model, _envelope(signature), _result())}
            for path in domino.PREDICTIONS
        },
    }


def _operation(protocol: str, path: str, model: Mapping[str, Any], body: Schema, answer: Schema) -> dict[str, Any]:
    error = "Error" if protocol == "domino" else "Fault"
    faults = {status: {"description": "refused", "content": _json(_ref(error))} for status in FAULTS}
    return {
        "summary": f"Predict, by {protocol}",
        "tags": [protocol],
        "parameters": _variables(path, model),
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {"200": {"description": "the predictions", "content": _json(answer)}, **faults},
    }


def _page(protocol: str, path: str, model: Mapping[str, Any]) -> dict[str, Any]:
    answers = {"200": "as the protocol has it", "404": "no such model, or no such version", "503": "not ready"}
    return {
        "summary": path,
        "tags": [protocol],
        "parameters": _variables(path, model),
        "responses": {status: {"description": text, "content": _json({})} for status, text in answers.items()},
    }


def _variables(path: str, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {"model": model["name"], "version": model["version"]}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1} | ({"example": known[name]} if known.get(name) else {}),
        }
        for name in VARIABLE.findall(path)
    ]


def _instances(signature: Signature) -> Schema:
    items: Schema = {}
    if signature.columns and signature.named:
        items = {"anyOf": [row(signature.columns), cells(signature.columns)]}
    elif len(signature.tensors) == 1:
        items = of_tensor(signature.tensors[0]).get("items", {})
    return {"type": "object", "properties": {"instances": {"type": "array", "items": items}}, "required": ["instances"]}


def _predictions() -> Schema:
    return {"type": "object", "properties": {"predictions": {}}, "required": ["predictions"]}


def _envelope(signature: Signature) -> Schema:
    named = signature.columns and signature.named
    data: Schema = {
        "type": "object",
        "properties": {str(column.name): of_column(column) for column in signature.columns} if named else {},
    }
    by_name = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    by_position = {"type": "object", "properties": {"parameters": {"type": "array"}}, "required": ["parameters"]}
    return {"anyOf": [by_name, by_position]}


def _result() -> Schema:
    return {
        "type": "object",
        "properties": {
            "result": {},
            "request_id": {"type": "string"},
            "model_time_in_ms": {"type": "integer"},
            "timing": {"type": "number"},
        },
        "required": ["result"],
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
