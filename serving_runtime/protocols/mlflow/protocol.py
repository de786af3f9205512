"""The declaration of MLflow's scoring protocol."""

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

ARROW: Final = b"application/vnd.apache.arrow.stream"


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    accept = message.headers.get(b"accept")
    if accept is not None and ARROW in accept:
        return _read_for_arrow(message, served)
    request = lazy.read_request(message.body, message.header(b"content-type"), served.metadata.signature, served.coerce)
    conformed = served.conform(request)

    def write(prediction: Prediction) -> Answer:
        return Answer(body=lazy.encode(prediction.value, wrapped=request.wrapped, nan=served.nan, coerce=served.coerce))

    stream = request.stream or (accept is not None and b"text/event-stream" in accept)
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write, stream=stream)


def _read_for_arrow(message: Message, served: ServedModel) -> Inputs:
    """Read a request whose answer is to be an Arrow stream. Raises ServingError."""
    lazy.expect_arrow()
    headers = {name: value for name, value in message.headers.items() if name != b"accept"}
    inputs = read(Message(body=message.body, headers=headers, path=message.path), served)

    def write(prediction: Prediction) -> Answer:
        return Answer(body=lazy.arrow_answer(prediction.value, inputs.rows, served.nan), media_type=ARROW)

    return Inputs(data=inputs.data, params=inputs.params, rows=inputs.rows, write=write, stream=inputs.stream)


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
