"""Asks a server as a transformer of KServe does, by each protocol: `python ask_kserve_transformer.py <port> <of gRPC>`.

Its `preprocess` puts the columns into the model's order. Answers are JSON.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferInput, InferRequest, InferResponse, Model
from kserve.context import set_predictor_config
from kserve.predictor_config import PredictorConfig

ROWS = np.array([[9.4, 3.5, 7.4], [10.1, 3.2, 6.3]])


class Reversed(Model):
    """A transformer of the model `wine`."""

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        if isinstance(payload, dict):
            return {"instances": [row[::-1] for row in payload["instances"]]}
        (tensor,) = payload.inputs
        binary = "binary_data_size" in (tensor.parameters or {})
        return matrix(np.ascontiguousarray(tensor.as_numpy()[:, ::-1]), binary=binary)


def matrix(rows: Any, *, binary: bool) -> InferRequest:
    tensor = InferInput("input-0", list(rows.shape), "FP64")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest("wine", [tensor])


async def predictions(port: str, protocol: str, payload: Any) -> Any:
    set_predictor_config(PredictorConfig(f"127.0.0.1:{port}", protocol))
    answered = await Reversed("wine")(payload, headers={"x-request-id": "order-66"})
    answered = answered[0] if isinstance(answered, tuple) else answered
    return answered.outputs[0].as_numpy().tolist() if isinstance(answered, InferResponse) else answered["predictions"]


async def ask(port: str, grpc_port: str) -> dict[str, Any]:
    return {
        "v1": await predictions(port, "v1", {"instances": ROWS.tolist()}),
        "v2": await predictions(port, "v2", matrix(ROWS, binary=False)),
        "v2 behind the JSON": await predictions(port, "v2", matrix(ROWS, binary=True)),
        "grpc-v2": await predictions(grpc_port, "grpc-v2", matrix(ROWS, binary=True)),
    }


print(json.dumps(asyncio.run(ask(*sys.argv[1:]))))  # noqa: T201  the answer of this script
