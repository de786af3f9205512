"""MLflow's scoring protocol: `POST /invocations`."""

from functools import cache
from typing import Any, Final

import orjson

from serving_runtime.protocols.interface import Answer, Inputs, Message, Prediction, Protocol, Refusal, ServedModel


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    encode, read_request = _core()
    request = read_request(message.body, message.header(b"content-type"), served.metadata.signature, served.coerce)
    conformed = served.conform(request)

    def write(prediction: Prediction) -> Answer:
        return Answer(body=encode(prediction.value, wrapped=request.wrapped, nan=served.nan, coerce=served.coerce))

    stream = request.stream or "text/event-stream" in (message.header(b"accept") or "")
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write, stream=stream)


@cache
def _core() -> tuple[Any, Any]:
    """A statement that imports is looked up anew with each request."""
    from serving_runtime.codec.encode import encode  # noqa: PLC0415  pandas is loaded with the model, not before it
    from serving_runtime.protocols.mlflow.request import read_request  # noqa: PLC0415  as above

    return encode, read_request


def refuse(refusal: Refusal) -> Answer:
    """MLflow's shape: `error_code` and `message`, and the faults of the input where there are some."""
    content = {"error_code": refusal.error_code, "message": refusal.message}
    return Answer(
        status=refusal.status, body=orjson.dumps(content | ({"details": refusal.details} if refusal.details else {}))
    )


INVOCATIONS: Final = Protocol(name="invocations", read=read, refuse=refuse)
