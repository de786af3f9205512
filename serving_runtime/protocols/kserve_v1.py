"""KServe's protocol V1: `{"instances": [...]}` becomes `{"predictions": [...]}`.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from serving_runtime.errors import MalformedRequestError, NotLoadedError
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

if TYPE_CHECKING:
    from serving_runtime.input.forms import Request
    from serving_runtime.signature import Signature

MODELS: Final = "/v1/models"
INSTANCES, INPUTS, PARAMETERS, PARAMS = "instances", "inputs", "parameters", "params"


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    from serving_runtime.codec.encode import encode  # noqa: PLC0415  pandas is loaded with the model, not before it
    from serving_runtime.codec.media_type import expect_json  # noqa: PLC0415  as above
    from serving_runtime.codec.strict_json import read_object  # noqa: PLC0415  as above

    expect(served, message.path, listed=MODELS)
    expect_json(message.header(b"content-type"))
    conformed = served.conform(_request(read_object(message.body), served.metadata.signature))

    def write(prediction: Prediction) -> Answer:
        return Answer(body=encode(prediction.value, wrapped=True, nan=served.nan, coerce=served.coerce))

    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write)


def _request(document: Mapping[str, Any], signature: "Signature") -> "Request":
    from serving_runtime.input.forms import Request  # noqa: PLC0415  as above
    from serving_runtime.input.table import from_rows, renamed  # noqa: PLC0415  as above
    from serving_runtime.protocols.mlflow.request import from_document  # noqa: PLC0415  as above

    if (INSTANCES in document) == (INPUTS in document):
        raise MalformedRequestError('the body must have one of the keys "instances" and "inputs"')
    if PARAMETERS in document and PARAMS in document:
        raise MalformedRequestError('the body must have one of the keys "parameters" and "params" at most')
    key = INSTANCES if INSTANCES in document else INPUTS
    params_path = PARAMETERS if PARAMETERS in document else PARAMS
    request = from_document({key: document[key], PARAMS: document.get(params_path)}, signature, params_path=params_path)
    rows = document[key]
    if signature.named and signature.columns and _are_rows(rows, len(signature.columns)):
        # Rows without names are what V1 is made of; MLflow's protocol, which has names, refuses them.
        table = renamed(from_rows(rows, key, len(signature.columns)), [column.name for column in signature.columns])
        return Request(input=table, params=request.params, params_path=params_path)
    return request


def _are_rows(value: Any, width: int) -> bool:
    return width > 1 and isinstance(value, list) and bool(value) and all(isinstance(row, list) for row in value)


def refuse(refusal: Refusal) -> Answer:
    """`error` is a sentence, as KServe's server has it; beside it is what every protocol here says."""
    content = {"error": refusal.message, "error_code": refusal.error_code}
    return Answer(
        status=refusal.status, body=orjson.dumps(content | ({"details": refusal.details} if refusal.details else {}))
    )


KSERVE_V1: Final = Protocol(name="v1", read=read, refuse=refuse)


def models(status: Status, _: Mapping[str, str]) -> Answer:
    if status.served is None:
        raise NotLoadedError
    return Answer(body=orjson.dumps({"models": [status.served.name]}))


def model(status: Status, path: Mapping[str, str]) -> Answer:
    is_ready = asked(status, path, listed=MODELS)
    return Answer(status=200 if is_ready else 503, body=orjson.dumps({"name": path["model"], "ready": is_ready}))


PAGES: Final[tuple[tuple[str, str, Page], ...]] = (("GET", MODELS, models), ("GET", f"{MODELS}/{{model}}", model))
PREDICTIONS: Final = (f"{MODELS}/{{model}}:predict",)
