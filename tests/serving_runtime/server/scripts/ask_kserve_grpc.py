"""Asks a server as KServe's own client of gRPC does: `python ask_kserve_grpc.py <port>`, answers as JSON."""

import asyncio
import json
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

ROWS = np.array([[7.4, 3.5, 9.4], [6.3, 3.2, 10.1]])
NAMES = ("fixed acidity", "pH", "alcohol")


def raw() -> InferRequest:
    tensor = InferInput("input-0", list(ROWS.shape), "FP64")
    tensor.set_data_from_numpy(ROWS, binary_data=True)
    return InferRequest("wine", [tensor], request_id="order-66")


def typed() -> InferRequest:
    tensors = [InferInput(name, [2], "FP64", data=ROWS[:, index].tolist()) for index, name in enumerate(NAMES)]
    return InferRequest("wine", tensors)


async def ask() -> dict[str, object]:
    answers: dict[str, object] = {}
    async with InferenceGRPCClient(f"127.0.0.1:{sys.argv[1]}") as client:
        answers["live"] = await client.is_server_live()
        answers["ready"] = await client.is_server_ready()
        answers["model ready"] = await client.is_model_ready("wine")
        answered = await client.infer(raw())
        answers["id"], answers["raw"] = answered.id, answered.outputs[0].as_numpy().tolist()
        answers["typed"] = (await client.infer(typed())).outputs[0].as_numpy().tolist()
        try:
            await client.infer(InferRequest("wine", [InferInput("x", [1], "INT64", data=[1])]))
        except grpc.RpcError as error:
            answers["refused"] = [error.code().name, error.details()]
    return answers


print(json.dumps(asyncio.run(ask())))  # noqa: T201  the answer of this script
