"""The declaration of Open Inference Protocol V2: predictions, and endpoints about server and model."""

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import orjson

from serving_runtime.errors import UnsupportedMediaTypeError
from serving_runtime.protocols import lazy
from serving_runtime.protocols.interface import (
    Answer,
    Endpoint,
    Inputs,
    Message,
    Prediction,
    PredictionSchemas,
    Protocol,
    ServedModel,
    Status,
)
from serving_runtime.protocols.kserve_endpoints import expect, is_ready, refuse
from serving_runtime.protocols.open_inference.schemas import PREDICTION_SCHEMAS

if TYPE_CHECKING:
    from serving_runtime.protocols.open_inference.answer import RequestedOutput
    from serving_runtime.signature import Signature

MODELS: Final = "/v2/models"
LISTED: Final = f"GET {MODELS}"
JSON_LENGTH: Final = b"inference-header-content-length"
MEDIA_TYPES: Final = ("", "application/json", "application/octet-stream")


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    expect(served, message.path, listed=LISTED)
    if (message.header(b"content-type") or "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaTypeError(
            "this Content-Type is not supported; send application/json, or application/octet-stream with tensors"
        )
    text, tail = lazy.split_tensors(message.body, message.header(JSON_LENGTH))
    document = lazy.read_object(text)
    requested = lazy.read_requested_output(document)
    conformed = served.conform(lazy.read_tensors(document, tail, served.metadata.signature))
    write = partial(_write, requested=requested)
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write)


def read_grpc(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    return lazy.read_infer(message, served)


def _write(prediction: Prediction, served: ServedModel, *, requested: "RequestedOutput") -> Answer:
    return lazy.write_tensors(prediction.value, requested, served)


def _json(content: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(content))


def server(_: Status, __: Mapping[str, str]) -> Answer:
    return _json(
        {"name": "model-api-runtime", "version": version("mlflow-model-api"), "extensions": ["binary_tensor_data"]}
    )


def live(_: Status, __: Mapping[str, str]) -> Answer:
    return _json({"live": True})


def ready(status: Status, _: Mapping[str, str]) -> Answer:
    """Return `ready`, which clients read; the specification's own text has `live` here."""
    return _json({"ready": status.ready}, status=200 if status.ready else 503)


def models(status: Status, _: Mapping[str, str]) -> Answer:
    return _json({"models": [status.loaded().name]})


def model(status: Status, path: Mapping[str, str]) -> Answer:
    is_ready(status, path, listed=LISTED)
    return _json(lazy.metadata_of(status.loaded()))


def model_ready(status: Status, path: Mapping[str, str]) -> Answer:
    now = is_ready(status, path, listed=LISTED)
    return _json({"name": path["model"], "ready": now}, status=200 if now else 503)


def index(status: Status, _: Mapping[str, str]) -> Answer:
    served = status.loaded()
    state = "READY" if status.ready else "UNAVAILABLE"
    return Answer(
        body=orjson.dumps([{"name": served.name, "version": served.version or "", "state": state, "reason": ""}])
    )


def schemas(_: "Signature") -> PredictionSchemas:
    return PREDICTION_SCHEMAS


_ONE: Final = f"{MODELS}/{{model}}"
_VERSION: Final = f"{_ONE}/versions/{{version}}"
OPEN_INFERENCE: Final = Protocol(
    name="v2",
    prefix="/v2",
    predictions=tuple(f"{one}/infer" for one in (_ONE, _VERSION)),
    read=read,
    refuse=refuse,
    schemas=schemas,
    endpoints=(
        Endpoint(method="GET", pattern="/v2", answer=server),
        Endpoint(method="GET", pattern="/v2/health/live", answer=live, is_open=True),
        Endpoint(method="GET", pattern="/v2/health/ready", answer=ready, is_open=True),
        Endpoint(method="GET", pattern=MODELS, answer=models),
        *(Endpoint(method="GET", pattern=one, answer=model) for one in (_ONE, _VERSION)),
        *(Endpoint(method="GET", pattern=f"{one}/ready", answer=model_ready) for one in (_ONE, _VERSION)),
        Endpoint(method="POST", pattern="/v2/repository/index", answer=index),
    ),
)
# The same over gRPC, which has no paths: serving_runtime/rpc calls it.
GRPC: Final = Protocol(name="grpc", predictions=(), read=read_grpc, refuse=refuse, schemas=schemas)
