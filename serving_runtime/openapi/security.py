"""The part of the OpenAPI document that depends on tokens."""

from collections.abc import Collection, Mapping
from typing import Any, Final

SCHEME: Final = "token"
UNAUTHORIZED: Final = {
    "description": "no token of this server",
    "headers": {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    "content": {"application/json": {}},
}


def with_token(document: Mapping[str, Any], open_paths: Collection[str]) -> dict[str, Any]:
    """Return the document with the security scheme, its open paths, and the answer to a request without a token."""
    paths = {
        path: {method: _operation(one, is_open=path in open_paths) for method, one in methods.items()}
        for path, methods in document["paths"].items()
    }
    components = document["components"] | {"securitySchemes": {SCHEME: {"type": "http", "scheme": "bearer"}}}
    return {**document, "paths": paths, "components": components, "security": [{SCHEME: []}]}


def _operation(operation: Mapping[str, Any], *, is_open: bool) -> dict[str, Any]:
    if is_open:
        return {**operation, "security": []}
    return {**operation, "responses": {**operation["responses"], "401": UNAUTHORIZED}}
