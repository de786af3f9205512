"""The declaration of MLflow's scoring protocol."""

from functools import partial
from typing import TYPE_CHECKING, Final

import orjson

from serving_runtime.protocols import lazy
from serving_runtime.protocols.interface import (
    Answer,
    Inputs,
    Message,
    Prediction,
    PredictionSchemas,
    Protocol,
    Refusal,
    ServedModel,
)

if TYPE_CHECKING:
    from serving_runtime.signature import Signature


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    request = lazy.read_request(message.body, message.header(b"content-type"), served.metadata.signature, served.coerce)
    conformed = served.conform(request)
    write = partial(_write, wrapped=request.wrapped)
    stream = request.stream or "text/event-stream" in (message.header(b"accept") or "")
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write, stream=stream)


def _write(prediction: Prediction, served: ServedModel, *, wrapped: bool) -> Answer:
    return Answer(body=lazy.encode(prediction.value, wrapped=wrapped, nan=served.nan, coerce=served.coerce))


def refuse(refusal: Refusal) -> Answer:
    """Return MLflow's shape of an error: `error_code`, `message`, and the faults of the input if there are some."""
    content = {"error_code": refusal.error_code, "message": refusal.message}
    return Answer(
        status=refusal.status, body=orjson.dumps(content | ({"details": refusal.details} if refusal.details else {}))
    )


def schemas(signature: "Signature") -> PredictionSchemas:
    return lazy.mlflow_schemas(signature)


INVOCATIONS: Final = Protocol(
    name="invocations", predictions=("/invocations",), read=read, refuse=refuse, schemas=schemas
)
