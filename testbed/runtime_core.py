"""The runtime's way from a request to its answer, in this process and without a server."""

from serving_runtime.codec.encode import encode
from serving_runtime.model import Model
from serving_runtime.protocols.mlflow.request import read_request


def answer(model: Model, body: bytes, content_type: str | None) -> bytes:
    """Return the JSON that answers `body` in MLflow's protocol. Raises ServingError."""
    request = read_request(body, content_type, model.metadata.signature)
    return encode(model.predict(request), wrapped=request.wrapped)
