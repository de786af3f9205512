"""JSON Schemas of the protocol's messages, for OpenAPI: they are the same for every model."""

from typing import Final

from serving_runtime.protocols.interface import PredictionSchemas, Schema
from serving_runtime.protocols.kserve_endpoints import FAULT

DATATYPES: Final = (
    "BOOL",
    *(f"{sign}INT{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)),
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)

TENSOR: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"enum": list(DATATYPES)},
        "parameters": {"type": "object"},
        "data": {
            "type": "array",
            "description": "nested or flat, in row-major order; left out if it follows in binary",
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
PREDICTION_SCHEMAS: Final = PredictionSchemas(
    request={"$ref": "#/components/schemas/InferenceRequest"},
    answer={"$ref": "#/components/schemas/InferenceResponse"},
    error="Fault",
    components={"Tensor": TENSOR, "InferenceRequest": INFER, "InferenceResponse": INFERRED, "Fault": FAULT},
)
