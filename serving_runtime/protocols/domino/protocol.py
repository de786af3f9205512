"""The declaration of Domino's protocol, on the paths of Domino's own harness.

The harness documents only its answers to successful requests (docs.dominodatalab.com), so errors have MLflow's shape.
"""

import secrets
import string
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import MalformedRequestError
from serving_runtime.protocols import lazy
from serving_runtime.protocols.interface import (
    Answer,
    Inputs,
    Message,
    Prediction,
    PredictionSchemas,
    Protocol,
    Schema,
    ServedModel,
)
from serving_runtime.protocols.mlflow.protocol import refuse

if TYPE_CHECKING:
    from serving_runtime.signature import Signature

DATA, PARAMETERS = "data", "parameters"
HARNESS: Final = version("mlflow-model-api")
ID_LENGTH: Final = 16
ID_LETTERS: Final = string.ascii_uppercase + string.digits


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    lazy.expect_json(message.header(b"content-type"))
    args, kwargs = _call(lazy.read_object(message.body))
    conformed = served.conform(lazy.read_call(args, kwargs, served.metadata.signature))
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=_write)


def _write(prediction: Prediction, served: ServedModel) -> Answer:
    milliseconds = prediction.seconds * 1000
    envelope = {
        "model_time_in_ms": int(milliseconds),
        "release": _release(served),
        "request_id": "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH)),
        "result": prediction.value,
        "timing": milliseconds,
    }
    return Answer(body=lazy.encode(envelope, wrapped=False, nan=served.nan, coerce=served.coerce))


def _call(document: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments of the call that Domino would make."""
    if (DATA in document) == (PARAMETERS in document):
        raise MalformedRequestError('the body must have either "data", an object, or "parameters", an array')
    if DATA in document:
        if not isinstance(document[DATA], dict):
            raise MalformedRequestError("data must be an object")
        return [], document[DATA]
    if not isinstance(document[PARAMETERS], list):
        raise MalformedRequestError("parameters must be an array")
    return document[PARAMETERS], {}


def _release(served: ServedModel) -> dict[str, str]:
    known = {"registered_model_name": served.name, "registered_model_version": served.version}
    return {"harness_version": HARNESS, **{key: value for key, value in known.items() if value}}


def schemas(signature: "Signature") -> PredictionSchemas:
    named = signature.columns and signature.named
    columns = {str(column.name): lazy.of_column(column) for column in signature.columns} if named else {}
    data: Schema = {"type": "object", "properties": columns}
    by_name = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    by_position = {"type": "object", "properties": {"parameters": {"type": "array"}}, "required": ["parameters"]}
    result = {
        "result": {},
        "request_id": {"type": "string"},
        "model_time_in_ms": {"type": "integer"},
        "timing": {"type": "number"},
    }
    return PredictionSchemas(
        request={"anyOf": [by_name, by_position]},
        answer={"type": "object", "properties": result, "required": ["result"]},
    )


DOMINO: Final = Protocol(
    name="domino",
    predictions=("/model", "/models/{id}/latest/model", "/models/{id}/labels/prod/model"),
    read=read,
    refuse=refuse,
    schemas=schemas,
)
