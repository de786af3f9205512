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

ARROW: Final = b"application/vnd.apache.arrow.stream"


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    accept = message.headers.get(b"accept")
    if accept is not None and lazy.answers_in_arrow(accept):
        return _read_for_arrow(message, served)
    request = lazy.read_request(message.body, message.header(b"content-type"), served.metadata.signature, served.coerce)
    conformed = served.conform(request)
    write = partial(_write, wrapped=request.wrapped)
    stream = request.stream or (accept is not None and lazy.answers_in_pieces(accept))
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write, stream=stream)


def _write(prediction: Prediction, served: ServedModel, *, wrapped: bool) -> Answer:
    return Answer(body=lazy.encode(prediction.value, wrapped=wrapped, nan=served.nan, coerce=served.coerce))


def _read_for_arrow(message: Message, served: ServedModel) -> Inputs:
    """Read a request whose answer is to be an Arrow stream. Raises ServingError."""
    headers = {name: value for name, value in message.headers.items() if name != b"accept"}
    inputs = read(Message(body=message.body, headers=headers, path=message.path), served)
    write = partial(_write_arrow, rows=inputs.rows)
    return Inputs(data=inputs.data, params=inputs.params, rows=inputs.rows, write=write, stream=inputs.stream)


def _write_arrow(prediction: Prediction, served: ServedModel, *, rows: int | None) -> Answer:
    return Answer(body=lazy.arrow_answer(prediction.value, rows, served.nan), media_type=ARROW)


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
