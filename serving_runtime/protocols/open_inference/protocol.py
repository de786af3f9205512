"""The protocol as the server's routes have it: predictions, and pages about server and model."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import orjson

from serving_runtime.errors import NotLoadedError, UnsupportedMediaTypeError
from serving_runtime.protocols.interface import (
    Answer,
    Inputs,
    Message,
    Page,
    Prediction,
    Protocol,
    Refusal,
    ServedModel,
    Status,
)
from serving_runtime.protocols.names import asked, expect

MODELS: Final = "/v2/models"
MEDIA_TYPES: Final = ("", "application/json", "application/octet-stream")


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    from serving_runtime.codec.strict_json import read_object  # noqa: PLC0415  numpy and pandas are loaded with the model
    from serving_runtime.protocols.open_inference.answer import read_requested_output, write  # noqa: PLC0415  as above
    from serving_runtime.protocols.open_inference.raw import HEADER, split  # noqa: PLC0415  as above
    from serving_runtime.protocols.open_inference.request import read_request  # noqa: PLC0415  as above

    expect(served, message.path, listed=MODELS)
    if (message.header(b"content-type") or "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaTypeError(
            "this Content-Type is not read here; send application/json, or application/octet-stream with tensors"
        )
    text, tail = split(message.body, message.header(HEADER))
    document = read_object(text)
    requested = read_requested_output(document)
    conformed = served.conform(read_request(document, tail, served.metadata.signature))

    def written(prediction: Prediction) -> Answer:
        return write(prediction.value, requested, served)

    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=written)


def refuse(refusal: Refusal) -> Answer:
    """`error` is a sentence, as the protocol has it; beside it is what every protocol here says."""
    content = {"error": refusal.message, "error_code": refusal.error_code}
    return Answer(
        status=refusal.status, body=orjson.dumps(content | ({"details": refusal.details} if refusal.details else {}))
    )


OPEN_INFERENCE: Final = Protocol(name="v2", read=read, refuse=refuse)


def _page(content: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(content))


def server(_: Status, __: Mapping[str, str]) -> Answer:
    return _page(
        {"name": "model-api-runtime", "version": version("mlflow-model-api"), "extensions": ["binary_tensor_data"]}
    )


def live(_: Status, __: Mapping[str, str]) -> Answer:
    return _page({"live": True})


def ready(status: Status, _: Mapping[str, str]) -> Answer:
    """`live` is what the text of the specification prints, and what nobody reads."""
    return _page({"ready": status.ready}, status=200 if status.ready else 503)


def models(status: Status, _: Mapping[str, str]) -> Answer:
    return _page({"models": [_served(status).name]})


def model(status: Status, path: Mapping[str, str]) -> Answer:
    from serving_runtime.protocols.open_inference.metadata import metadata_of  # noqa: PLC0415  as above

    asked(status, path, listed=MODELS)
    return _page(metadata_of(_served(status)))


def model_ready(status: Status, path: Mapping[str, str]) -> Answer:
    is_ready = asked(status, path, listed=MODELS)
    return _page({"name": path["model"], "ready": is_ready}, status=200 if is_ready else 503)


def index(status: Status, _: Mapping[str, str]) -> Answer:
    served = _served(status)
    state = "READY" if status.ready else "UNAVAILABLE"
    return Answer(
        body=orjson.dumps([{"name": served.name, "version": served.version or "", "state": state, "reason": ""}])
    )


def _served(status: Status) -> ServedModel:
    if status.served is None:
        raise NotLoadedError
    return status.served


_ONE: Final = f"{MODELS}/{{model}}"
_VERSION: Final = f"{_ONE}/versions/{{version}}"
PAGES: Final[tuple[tuple[str, str, Page], ...]] = (
    ("GET", "/v2", server),
    ("GET", "/v2/health/live", live),
    ("GET", "/v2/health/ready", ready),
    ("GET", MODELS, models),
    *(("GET", one, model) for one in (_ONE, _VERSION)),
    *(("GET", f"{one}/ready", model_ready) for one in (_ONE, _VERSION)),
    ("POST", "/v2/repository/index", index),
)
PREDICTIONS: Final = tuple(f"{one}/infer" for one in (_ONE, _VERSION))
