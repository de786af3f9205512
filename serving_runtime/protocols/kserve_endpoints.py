"""Parts that KServe's protocols V1 and V2 share: the model's name in a path, and the shape of an error."""

from collections.abc import Mapping
from typing import Final

import orjson

from serving_runtime.errors import UnknownModelError
from serving_runtime.protocols.interface import Answer, Refusal, Schema, ServedModel, Status

# An error is a sentence under KServe's key; the code and the details are those of every protocol here.
FAULT: Final[Schema] = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "error_code": {"type": "string"}, "details": {"type": "array"}},
    "required": ["error"],
}


def expect(served: ServedModel, path: Mapping[str, str], *, listed: str) -> None:
    """Raise UnknownModelError if the path names another model; its message names what lists the model, `listed`."""
    if path.get("model") != served.name:
        raise UnknownModelError(f"there is no model of this name; {listed} has the name of the one that is served")
    if "version" in path and path["version"] != served.version:
        has = f"the version {served.version}" if served.version else "no version"
        raise UnknownModelError(f"the model has no such version; it has {has}")


def is_ready(status: Status, path: Mapping[str, str], *, listed: str) -> bool:
    """Return True if the model that an endpoint is asked for is ready. While the model loads, any name may be its name.

    Raises UnknownModelError.
    """
    if status.served is not None:
        expect(status.served, path, listed=listed)
    return status.ready


def refuse(refusal: Refusal) -> Answer:
    """Return the error as KServe's server has it, with the code and the details that every protocol here has."""
    content = {"error": refusal.message, "error_code": refusal.error_code}
    return Answer(
        status=refusal.status, body=orjson.dumps(content | ({"details": refusal.details} if refusal.details else {}))
    )
