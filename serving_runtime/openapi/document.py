"""The OpenAPI document of a model, from its description and from the declarations of the protocols."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from serving_runtime.protocols.interface import Protocol, Schema
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.table import PROTOCOLS
from serving_runtime.signature import Signature

DESCRIPTIONS: Final[Mapping[str, str]] = {
    "400": "the body is malformed, or does not fit the model's signature; `details` names each place",
    "406": "the answer cannot have the media type that `Accept` asks for",
    "408": "the body did not come in time",
    "413": "the body is too large",
    "415": "the Content-Type, its charset or the Content-Encoding is not supported",
    "429": "the queue is full; try again after `Retry-After`",
    "500": "the model failed on this input",
    "503": "the model loads, or the server stops; try again after `Retry-After`",
    "504": "no prediction in time",
}
VARIABLE: Final = re.compile(r"\{(\w+)\}")
FAULTS: Final = ("400", "404", "408", "413", "415", "429", "500", "503", "504")
ERROR: Final[Schema] = {
    "type": "object",
    "properties": {
        "error_code": {"type": "string"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("path", "problem", "expected", "got")},
                "required": ["path", "problem"],
            },
        },
    },
    "required": ["error_code", "message"],
}
STATUS: Final[Schema] = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
TOKEN_SCHEME: Final = "token"
UNAUTHORIZED: Final = {
    "description": "the request has no valid token",
    "headers": {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    "content": {"application/json": {}},
}


def openapi(described: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document. `described` is the result of `info.describe`."""
    model = described["model"]
    return {
        "openapi": "3.1.0",
        "info": {"title": model["name"], "version": model["version"] or "0", "description": _description(model)},
        "paths": {
            **_paths(described, signature),
            **_probes(),
            **_server_pages(),
        },
        "components": {
            "schemas": {"Error": ERROR, "Status": STATUS, **_components(signature)},
            "responses": {status: _error(text) for status, text in DESCRIPTIONS.items()},
        },
    }


def with_token(document: Mapping[str, Any], open_paths: Collection[str]) -> dict[str, Any]:
    """Return the document with the security scheme, its open paths, and the answer to a request without a token."""
    paths = {
        path: {method: _secured(one, is_open=path in open_paths) for method, one in methods.items()}
        for path, methods in document["paths"].items()
    }
    components = document["components"] | {"securitySchemes": {TOKEN_SCHEME: {"type": "http", "scheme": "bearer"}}}
    return {**document, "paths": paths, "components": components, "security": [{TOKEN_SCHEME: []}]}


def _secured(operation: Mapping[str, Any], *, is_open: bool) -> dict[str, Any]:
    if is_open:
        return {**operation, "security": []}
    return {**operation, "responses": {**operation["responses"], "401": UNAUTHORIZED}}


def _description(model: Mapping[str, Any]) -> str:
    run = f", run {model['run_id']}" if model["run_id"] else ""
    return f"An MLflow model of flavor {model['flavor']}{run}. A person can try it at /docs."


def _paths(described: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Return the paths of every protocol: those that predict, and its endpoints."""
    model = described["model"]
    return {
        INVOCATIONS.predictions[0]: {"post": _invocations(described, signature)},
        **{
            path: {"post": _prediction(protocol, path, model, signature)}
            for protocol in PROTOCOLS
            if protocol is not INVOCATIONS
            for path in protocol.predictions
        },
        **{
            endpoint.pattern: {endpoint.method.lower(): _endpoint(protocol.name, endpoint.pattern, model)}
            for protocol in PROTOCOLS
            for endpoint in protocol.endpoints
        },
    }


def _invocations(described: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Return the operation of MLflow's protocol, the only one that an input example is logged in."""
    schemas = INVOCATIONS.schemas(signature)
    json_body: Schema = {"schema": schemas.request}
    if described["example"] is not None:
        json_body["examples"] = {
            "logged": {"summary": "the example that was logged with the model", "value": described["example"]}
        }
    content = {"application/json": json_body}
    if schemas.csv is not None:
        content["text/csv"] = {"schema": schemas.csv}
    content |= {media_type: {"schema": schema} for media_type, schema in schemas.tables.items()}
    answers = _json(schemas.answer) | {name: {"schema": schema} for name, schema in schemas.binary_answers.items()}
    return {
        "operationId": "predict",
        "summary": "Predict",
        "tags": ["predictions"],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "the predictions", "content": answers},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in DESCRIPTIONS},
        },
    }


def _prediction(protocol: Protocol, path: str, model: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    schemas = protocol.schemas(signature)
    error = _json({"$ref": f"#/components/schemas/{schemas.error}"})
    faults = {status: {"description": "refused", "content": error} for status in FAULTS}
    return {
        "summary": f"Predict, by {protocol.name}",
        "tags": [protocol.name],
        "parameters": _variables(path, model),
        "requestBody": {"required": True, "content": _json(schemas.request)},
        "responses": {"200": {"description": "the predictions", "content": _json(schemas.answer)}, **faults},
    }


def _endpoint(protocol: str, path: str, model: Mapping[str, Any]) -> dict[str, Any]:
    answers = {"200": "the answer of the endpoint", "404": "no such model, or no such version", "503": "not ready"}
    return {
        "summary": path,
        "tags": [protocol],
        "parameters": _variables(path, model),
        "responses": {status: {"description": text, "content": _json({})} for status, text in answers.items()},
    }


def _variables(path: str, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {"model": model["name"], "version": model["version"]}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1} | ({"example": known[name]} if known.get(name) else {}),
        }
        for name in VARIABLE.findall(path)
    ]


def _probes() -> dict[str, Any]:
    status = {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}}
    answers = {
        "/livez": {"200": "the process answers"},
        "/startupz": {"200": "the model is loaded", "503": "it loads"},
        "/readyz": {"200": "the model is ready", "503": "it loads, or the server stops"},
    }
    return {
        path: {
            "get": {
                "summary": path.strip("/"),
                "tags": ["probes"],
                "responses": {code: {"description": text, "content": status} for code, text in texts.items()},
            }
        }
        for path, texts in answers.items()
    }


def _server_pages() -> dict[str, Any]:
    unavailable = {"503": {"$ref": "#/components/responses/503"}}
    version = {"description": "the version of MLflow that saved the model", "content": {"application/json": {}}}
    ping = {"description": "a line break if the model is ready", "content": {"application/json": {}}}
    info = {
        "description": "model, run, flavor, signature, and libraries that differ",
        "content": {"application/json": {}},
    }
    document = {"description": "this document", "content": {"application/json": {}}}
    index = {"description": "the list of routes", "content": {"application/json": {}}}
    page = {"description": "a page to try the model on", "content": {"text/html": {}}}
    metrics = {"description": "metrics for Prometheus", "content": {"text/plain": {}}}
    pages = {
        "/": index,
        "/metrics": metrics,
        "/ping": ping,
        "/health": ping,
        "/version": version,
        "/info": info,
        "/openapi.json": document,
        "/docs": page,
    }
    return {
        path: {"get": {"summary": path.strip("/"), "tags": ["model"], "responses": {"200": answer, **unavailable}}}
        for path, answer in pages.items()
    }


def _components(signature: Signature) -> dict[str, Schema]:
    return {name: schema for protocol in PROTOCOLS for name, schema in protocol.schemas(signature).components.items()}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
