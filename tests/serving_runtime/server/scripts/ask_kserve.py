"""Asks a server as KServe's own client does, by both protocols: `python ask_kserve.py <port>`, answers as JSON."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL = f"http://127.0.0.1:{sys.argv[1]}"
ROWS = np.array([[7.4, 3.5, 9.4], [6.3, 3.2, 10.1]])
NAMES = ("fixed acidity", "pH", "alcohol")


def matrix(*, binary: bool, wanted: bool) -> InferRequest:
    tensor = InferInput("input-0", list(ROWS.shape), "FP64")
    tensor.set_data_from_numpy(ROWS, binary_data=binary)
    outputs = [RequestedOutput("output-0", {"binary_data": True})] if wanted else None
    return InferRequest("wine", [tensor], request_outputs=outputs)


def columns() -> InferRequest:
    tensors = []
    for index, name in enumerate(NAMES):
        tensors.append(InferInput(name, [2], "FP64"))
        tensors[-1].set_data_from_numpy(ROWS[:, index], binary_data=False)
    return InferRequest("wine", tensors)


async def ask() -> dict[str, object]:
    answers: dict[str, object] = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        answers["live"] = await client.is_server_live(URL)
        answers["ready"] = await client.is_server_ready(URL)
        answers["model ready"] = await client.is_model_ready(URL, "wine")
        answers["other model ready"] = await client.is_model_ready(URL, "other")
        requests = {
            "v2 as JSON": matrix(binary=False, wanted=False),
            "v2 behind the JSON": matrix(binary=True, wanted=False),
            "v2 behind the JSON both ways": matrix(binary=True, wanted=True),
            "v2 by columns": columns(),
        }
        for name, request in requests.items():
            answered = await client.infer(URL, request, model_name="wine")
            answers[name] = answered.outputs[0].as_numpy().tolist()
        try:
            await client.infer(URL, {"inputs": []}, model_name="wine")
        except httpx.HTTPStatusError as error:
            answers["refused"] = str(error)
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        answers["v1 live"] = await client.is_server_live(URL)
        answers["v1 model ready"] = await client.is_model_ready(URL, "wine")
        answers["v1"] = (await client.infer(URL, {"instances": ROWS.tolist()}, model_name="wine"))["predictions"]
    return answers


print(json.dumps(asyncio.run(ask())))  # noqa: T201  the answer of this script
