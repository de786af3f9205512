"""KServe's protocol V1: `{"instances": [...]}` becomes `{"predictions": [...]}`.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from serving_runtime.errors import MalformedRequestError
from serving_runtime.protocols import lazy
from serving_runtime.protocols.interface import (
    Answer,
    Endpoint,
    Inputs,
    Message,
    Prediction,
    PredictionSchemas,
    Protocol,
    Schema,
    ServedModel,
    Status,
)
from serving_runtime.protocols.kserve_endpoints import FAULT, expect, is_ready, refuse

if TYPE_CHECKING:
    from serving_runtime.input.request import Request
    from serving_runtime.signature import Column, Signature

MODELS: Final = "/v1/models"
LISTED: Final = f"GET {MODELS}"
INSTANCES, INPUTS, PARAMETERS, PARAMS = "instances", "inputs", "parameters", "params"


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    expect(served, message.path, listed=LISTED)
    lazy.expect_json(message.header(b"content-type"))
    conformed = served.conform(_request(lazy.read_object(message.body), served.metadata.signature))
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=_write)


def _write(prediction: Prediction, served: ServedModel) -> Answer:
    return Answer(body=lazy.encode(prediction.value, wrapped=True, nan=served.nan, coerce=served.coerce))


def _request(document: Mapping[str, Any], signature: "Signature") -> "Request":
    if (INSTANCES in document) == (INPUTS in document):
        raise MalformedRequestError('the body must have either "instances" or "inputs"')
    if PARAMETERS in document and PARAMS in document:
        raise MalformedRequestError('the body must have only one of the keys "parameters" and "params"')
    key = INSTANCES if INSTANCES in document else INPUTS
    params_path = PARAMETERS if PARAMETERS in document else PARAMS
    request = lazy.from_document(
        {key: document[key], PARAMS: document.get(params_path)}, signature, params_path=params_path
    )
    rows = document[key]
    if signature.named and _are_rows(rows, signature.columns) and not signature.repeats_a_name:
        # V1 sends rows without names, which MLflow's protocol refuses if the signature has names.
        names = [column.name for column in signature.columns]
        table = lazy.renamed(lazy.from_rows(rows, key, len(signature.columns)), names)
        return lazy.Request(input=table, params=request.params, params_path=params_path)
    if signature.named and signature.columns and _are_small_tables(rows, signature.columns):
        table = lazy.from_small_tables(rows, key)
        return lazy.Request(input=table, params=request.params, params_path=params_path)
    return request


def _are_rows(value: Any, columns: "Sequence[Column]") -> bool:
    """Return True for lists that are rows, and not values of an only column that takes lists."""
    if not columns or not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        return False
    return len(columns) > 1 or isinstance(columns[0].type, lazy.Scalar)


def _are_small_tables(value: Any, columns: "Sequence[Column]") -> bool:
    """Return True for objects of lists, which KServe's own servers of tabular models take, if cells are no lists."""
    return (
        isinstance(value, list)
        and all(isinstance(each, dict) and all(isinstance(cells, list) for cells in each.values()) for each in value)
        and any(value)
        and all(isinstance(column.type, lazy.Scalar) for column in columns)
    )


def models(status: Status, _: Mapping[str, str]) -> Answer:
    """Raises NotLoadedError."""
    return Answer(body=orjson.dumps({"models": [status.loaded().name]}))


def model(status: Status, path: Mapping[str, str]) -> Answer:
    """Raises UnknownModelError."""
    ready = is_ready(status, path, listed=LISTED)
    return Answer(status=200 if ready else 503, body=orjson.dumps({"name": path["model"], "ready": ready}))


def schemas(signature: "Signature") -> PredictionSchemas:
    items: Schema = {}
    if signature.columns and signature.named:
        items = {"anyOf": [lazy.row(signature.columns), lazy.cells(signature.columns)]}
    elif len(signature.tensors) == 1:
        items = lazy.of_tensor(signature.tensors[0]).get("items", {})
    instances = {"instances": {"type": "array", "items": items}}
    return PredictionSchemas(
        request={"type": "object", "properties": instances, "required": ["instances"]},
        answer={"type": "object", "properties": {"predictions": {}}, "required": ["predictions"]},
        error="Fault",
        components={"Fault": FAULT},
    )


KSERVE_V1: Final = Protocol(
    name="v1",
    prefix="/v1",
    predictions=(f"{MODELS}/{{model}}:predict",),
    read=read,
    refuse=refuse,
    schemas=schemas,
    endpoints=(
        Endpoint(method="GET", pattern=MODELS, answer=models),
        Endpoint(method="GET", pattern=f"{MODELS}/{{model}}", answer=model),
    ),
)
