"""The whole document, from what `describe` says of a model."""

from collections.abc import Mapping
from typing import Any, Final

from serving_runtime.openapi import bodies
from serving_runtime.openapi.protocols import SCHEMAS, paths
from serving_runtime.openapi.schemas import Schema
from serving_runtime.signature import Signature

TEXT: Final[Mapping[str, str]] = {
    "400": "the body is not the protocol's, or does not fit the model's signature; `details` names each place",
    "408": "the body did not come in time",
    "413": "the body is too large",
    "415": "a Content-Type or a charset that is not read here, or a compressed body",
    "429": "the queue is full; come again after `Retry-After`",
    "500": "the model failed on this input",
    "503": "the model loads, or the server stops; come again after `Retry-After`",
    "504": "no prediction in time",
}
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


def openapi(described: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """An OpenAPI 3.1 document. `described` is what `info.describe` returns."""
    model = described["model"]
    return {
        "openapi": "3.1.0",
        "info": {"title": model["name"], "version": model["version"] or "0", "description": _description(model)},
        "paths": {
            "/invocations": {"post": _invocations(described, signature)},
            **paths(signature, model),
            **_probes(),
            **_pages(),
        },
        "components": {
            "schemas": {"Error": ERROR, "Status": STATUS, **SCHEMAS},
            "responses": {status: _error(text) for status, text in TEXT.items()},
        },
    }


def _description(model: Mapping[str, Any]) -> str:
    run = f", run {model['run_id']}" if model["run_id"] else ""
    return f"An MLflow model of flavor {model['flavor']}{run}. A person can try it at /docs."


def _invocations(described: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    json_body: Schema = {"schema": bodies.request(signature)}
    if described["example"] is not None:
        json_body["examples"] = {
            "logged": {"summary": "the example that was logged with the model", "value": described["example"]}
        }
    content = {"application/json": json_body}
    if signature.columns and signature.named:
        content["text/csv"] = {"schema": bodies.csv(signature)}
    answer = bodies.answer(described["signature"]["outputs"], signature)
    return {
        "operationId": "predict",
        "summary": "Predict",
        "tags": ["predictions"],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "the predictions", "content": {"application/json": {"schema": answer}}},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in TEXT},
        },
    }


def _probes() -> dict[str, Any]:
    status = {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}}
    answers = {
        "/livez": {"200": "the process answers"},
        "/startupz": {"200": "the model is loaded", "503": "it loads"},
        "/readyz": {"200": "the model can be asked", "503": "it loads, or the server stops"},
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


def _pages() -> dict[str, Any]:
    unavailable = {"503": {"$ref": "#/components/responses/503"}}
    version = {"description": "the version of MLflow that saved the model", "content": {"application/json": {}}}
    ping = {"description": "a line break where the model can be asked", "content": {"application/json": {}}}
    info = {
        "description": "model, run, flavor, signature, and libraries that differ",
        "content": {"application/json": {}},
    }
    document = {"description": "this document", "content": {"application/json": {}}}
    index = {"description": "the list of routes", "content": {"application/json": {}}}
    page = {"description": "a page to ask the model with", "content": {"text/html": {}}}
    metrics = {"description": "figures for Prometheus", "content": {"text/plain": {}}}
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


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
