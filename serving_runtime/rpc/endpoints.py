"""Methods that tell about the server and its model: one request, one response, no prediction."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from serving_runtime.codec.proto_file import Rpc
from serving_runtime.protocols.interface import Status
from serving_runtime.protocols.open_inference.messages import INFERENCE, expect_model
from serving_runtime.protocols.open_inference.metadata import metadata_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcEndpoint:
    """A method that does not predict. `answer` returns the response, and raises HttpError, ServingError.

    `is_open`: it needs no token.
    """

    rpc: Rpc
    answer: Callable[[Any, Status], Any]
    is_open: bool = False


def _server_live(_: Any, __: Status) -> Any:
    return LIVE.response(live=True)


def _server_ready(_: Any, status: Status) -> Any:
    return READY.response(ready=status.ready)


def _server_metadata(_: Any, __: Status) -> Any:
    return SERVER.response(name="model-api-runtime", version=version("mlflow-model-api"))


def _model_ready(request: Any, status: Status) -> Any:
    expect_model(request.name, request.version, status.loaded())
    return MODEL_READY.response(ready=status.ready)


def _model_metadata(request: Any, status: Status) -> Any:
    served = status.loaded()
    expect_model(request.name, request.version, served)
    found = metadata_of(served)
    for tensor in (*found["inputs"], *found["outputs"]):
        del tensor["parameters"]  # the message has no place for them
    return MODEL.response(**found)


def _index(request: Any, status: Status) -> Any:
    """Return the model that is served; nothing if a client asks for ready models while it is not."""
    served = status.loaded()
    state = "READY" if status.ready else "UNAVAILABLE"
    models = [{"name": served.name, "version": served.version or "", "state": state}]
    return INDEX.response(models=[] if request.ready and not status.ready else models)


LIVE: Final = INFERENCE.method("ServerLive")
READY: Final = INFERENCE.method("ServerReady")
SERVER: Final = INFERENCE.method("ServerMetadata")
MODEL_READY: Final = INFERENCE.method("ModelReady")
MODEL: Final = INFERENCE.method("ModelMetadata")
INDEX: Final = INFERENCE.method("RepositoryIndex")
ENDPOINTS: Final = (
    RpcEndpoint(rpc=LIVE, answer=_server_live, is_open=True),
    RpcEndpoint(rpc=READY, answer=_server_ready, is_open=True),
    RpcEndpoint(rpc=SERVER, answer=_server_metadata),
    RpcEndpoint(rpc=MODEL_READY, answer=_model_ready),
    RpcEndpoint(rpc=MODEL, answer=_model_metadata),
    RpcEndpoint(rpc=INDEX, answer=_index),
)
