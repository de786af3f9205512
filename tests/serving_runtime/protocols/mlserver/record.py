"""Records what MLServer answers to its clients: `python record.py <models> <directory> <recordings>`.

It runs in MLServer's environment, starts the server in the directory, and writes a line of JSON about the versions and
one for each exchange. Requests are made by MLServer's own codecs and converters, or are those of its pages.
"""

import base64
import datetime
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
from mlserver.codecs import (
    Base64Codec,
    DatetimeCodec,
    NumpyCodec,
    NumpyRequestCodec,
    PandasCodec,
    StringCodec,
    StringRequestCodec,
)
from mlserver.grpc import dataplane_pb2 as messages
from mlserver.grpc.converters import ModelInferRequestConverter
from mlserver.types import InferenceRequest, Parameters
from mlserver_mlflow.codecs import TensorDictCodec

SERVICE = "/inference.GRPCInferenceService/"
VERSION = "3"
WINE = {
    "fixed acidity": 7.4,
    "volatile acidity": 0.7,
    "citric acid": 0.0,
    "residual sugar": 1.9,
    "chlorides": 0.076,
    "free sulfur dioxide": 11.0,
    "total sulfur dioxide": 34.0,
    "density": 0.9978,
    "pH": 3.51,
    "sulphates": 0.56,
    "alcohol": 9.4,
}
ROWS = pd.DataFrame([WINE, {**WINE, "alcohol": 11.0, "pH": 3.2}])
# The request of the tutorial, number by number: https://docs.seldon.ai/mlserver/examples/mlflow
TUTORIAL = {
    "inputs": [
        {"name": name, "shape": [1], "datatype": "FP32", "data": [int(value) if value.is_integer() else value]}
        for name, value in WINE.items()
    ]
}
FLOATS = np.array([[1.0, 2.5, -3.0], [0.0, 4.0, 0.5]], dtype="float32")
PAIR = {"left": np.array([[1.0, 2.0], [3.0, 4.0]]), "right": np.array([[2.0, 2.0], [2.0, 2.0]])}
AT = datetime.datetime(2024, 2, 29, 12, 30)  # noqa: DTZ001  MLflow refuses one with a zone


def every_codec(*, use_bytes: bool) -> InferenceRequest:
    """Return a request of every type of column, each by the codec of its type."""
    texts = [NumpyCodec.encode_input("flag", np.array([[True], [False]]))]
    texts += [
        NumpyCodec.encode_input(name, np.array([[1], [2]], dtype=dtype))
        for name, dtype in (("small", "int32"), ("big", "int64"), ("half", "float32"), ("full", "float64"))
    ]
    nested = pd.DataFrame({"tags": [["b", "a"], []], "box": [{"width": 2.0}, {"width": 3.0}]}, dtype=object)
    return InferenceRequest(
        parameters=Parameters(content_type="pd"),
        inputs=[
            *texts,
            StringCodec.encode_input("name", ["Zoë", "b"], use_bytes=use_bytes),
            Base64Codec.encode_input("blob", [b"\x00\xff", b"abc"], use_bytes=use_bytes),
            DatetimeCodec.encode_input("at", [AT, AT.replace(year=2025, day=1)], use_bytes=use_bytes),
            *PandasCodec.encode_request(nested, use_bytes=use_bytes).inputs,
        ],
    )


def bare(request: InferenceRequest) -> dict[str, Any]:
    """Return the request without a content type: the server knows those of the signature."""
    document = json.loads(request.model_dump_json())
    document.pop("parameters", None)
    for tensor in document["inputs"]:
        if tensor.get("parameters", {}).get("content_type") != "pd_json":
            tensor.pop("parameters", None)
    return document


def with_parameters(request: InferenceRequest, **given: Any) -> InferenceRequest:
    return request.model_copy(update={"parameters": Parameters(content_type=request.parameters.content_type, **given)})


def by_json() -> Iterator[tuple[str, str, Any]]:
    """Yield name, model and document of requests for predictions."""
    frame = PandasCodec.encode_request(ROWS, use_bytes=False)
    yield "the tutorial's request", "wine", TUTORIAL
    yield "a frame", "wine", frame
    yield "a frame with every field, null too", "wine", frame.model_dump(exclude_none=False, exclude_unset=False)
    yield "a frame with an id", "wine", {**json.loads(frame.model_dump_json()), "id": "order-66"}
    yield (
        "a frame of arrays",
        "wine",
        InferenceRequest(
            parameters=Parameters(content_type="pd"),
            inputs=[NumpyCodec.encode_input(name, ROWS[name].to_numpy()) for name in ROWS],
        ),
    )
    yield "columns by every codec", "columns", every_codec(use_bytes=False)
    yield "columns without content types", "columns", bare(every_codec(use_bytes=False))
    yield "an array", "tensor", NumpyRequestCodec.encode_request(FLOATS)
    yield "an array without content types", "tensor", bare(NumpyRequestCodec.encode_request(FLOATS))
    yield "a dict of arrays", "tensors", TensorDictCodec.encode_request(PAIR)
    yield "a dict of arrays without content types", "tensors", bare(TensorDictCodec.encode_request(PAIR))
    texts = pd.DataFrame({"text": ["äh", "b"]}, dtype=object)
    yield "a frame of texts", "texts", PandasCodec.encode_request(texts, use_bytes=False)
    yield "texts as the whole request", "lines", StringRequestCodec.encode_request(["äh", "b"], use_bytes=False)
    one = PandasCodec.encode_request(pd.DataFrame({"x": [1.5, 2.0]}))
    yield "parameters of the model", "scaled", with_parameters(one, factor=10.0, label="four")
    yield "a part of the model's parameters", "scaled", with_parameters(one, factor=10.0)
    yield "a missing number", "filled", PandasCodec.encode_request(pd.DataFrame({"x": [1.5, None]}))
    for name, request in (
        ("a frame", PandasCodec.encode_request(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}))),
        ("a frame of one column", PandasCodec.encode_request(pd.DataFrame({"a": [1, 2]}))),
        ("an array", NumpyRequestCodec.encode_request(np.array([[1, 2], [3, 4]]))),
        ("texts", StringRequestCodec.encode_request(["äh", "b"], use_bytes=False)),
        ("a dict of arrays", TensorDictCodec.encode_request(PAIR)),
    ):
        yield f"{name} for a model without a signature", "seen", request


def refused() -> Iterator[tuple[str, str, str, Any]]:
    """Yield name, model, path and document of requests that get no prediction."""
    whole = StringRequestCodec.encode_request(["äh", "b"], use_bytes=False)
    yield "texts as the whole request for a column with a name", "texts", "", json.loads(whole.model_dump_json())
    yield "a column is missing", "wine", "", {"inputs": TUTORIAL["inputs"][1:]}
    yield "inputs are missing", "wine", "", {"id": "order-66"}
    yield "a version that is not there", "wine", "/versions/9", TUTORIAL
    yield "a model that is not there", "nowhere", "", TUTORIAL


def by_grpc() -> Iterator[tuple[str, str, InferenceRequest, bool]]:
    """Yield name, model, request, and True for raw tensors."""
    for raw in (False, True):
        way = "raw" if raw else "typed"
        yield f"a frame, {way}", "wine", PandasCodec.encode_request(ROWS), raw
        yield f"columns by every codec, {way}", "columns", every_codec(use_bytes=True), raw
        yield f"an array, {way}", "tensor", NumpyRequestCodec.encode_request(FLOATS), raw
        yield f"a dict of arrays, {way}", "tensors", TensorDictCodec.encode_request(PAIR), raw
        yield f"texts as the whole request, {way}", "lines", StringRequestCodec.encode_request(["äh", "b"]), raw
        whole = with_parameters(PandasCodec.encode_request(pd.DataFrame({"x": [1.5, 2.0]})), label="four")
        yield f"a parameter of the model, {way}", "scaled", whole, raw


def invocations() -> Iterator[tuple[str, str, bytes]]:
    """Yield name, Content-Type and body of requests in MLflow's own protocol, for the model `wine`."""
    split = {"dataframe_split": {"columns": list(WINE), "data": ROWS.to_numpy().tolist()}}
    yield "the tutorial's frame", "application/json", json.dumps(split).encode()
    records = {"dataframe_records": ROWS.to_dict(orient="records")}
    yield "records", "application/json", json.dumps(records).encode()
    yield "inputs", "application/json", json.dumps({"inputs": ROWS.to_dict(orient="list")}).encode()
    yield "CSV", "text/csv", ROWS.to_csv(index=False).encode()


PAGES = ("/v2", "/v2/health/live", "/v2/health/ready", "/ping", "/health", "/version")


class Server:
    """MLServer with one folder for each model."""

    def __init__(self, models: Path, directory: Path, names: Sequence[str]) -> None:
        self.http, self.rpc, metrics = (_free_port() for _ in range(3))
        directory.mkdir(parents=True, exist_ok=True)
        ports = {"http_port": self.http, "grpc_port": self.rpc, "metrics_port": metrics}
        (directory / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **ports}))
        self.models = names
        for name in self.models:
            (directory / name).mkdir(exist_ok=True)
            settings = {
                "name": name,
                "implementation": "mlserver_mlflow.MLflowRuntime",
                "parameters": {"uri": str(models / name), "version": VERSION},
            }
            (directory / name / "model-settings.json").write_text(json.dumps(settings))
        self.log = directory / "log"
        with self.log.open("wb") as log:
            command = [Path(sys.executable).with_name("mlserver"), "start", directory]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=directory, start_new_session=True
            )
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.rpc}")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 300
        while not all(self._is_ready(name) for name in self.models):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-4000:])
            time.sleep(0.5)

    def _is_ready(self, name: str) -> bool:
        try:
            return self.ask(f"/v2/models/{name}/ready", b"", "")[0] == 200
        except OSError:
            return False

    def ask(self, path: str, body: bytes, media_type: str) -> tuple[int, bytes]:
        """Send the body, or get the page if there is none."""
        client = http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)
        try:
            client.request("POST" if body else "GET", path, body or None, {"Content-Type": media_type} if body else {})
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def call(self, method: str, body: bytes) -> tuple[str, bytes]:
        try:
            return "OK", self.channel.unary_unary(SERVICE + method)(body, timeout=60)
        except grpc.RpcError as error:
            return error.code().name, error.details().encode()

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def exchanges(server: Server) -> Iterator[dict[str, Any]]:
    for name, model, given in by_json():
        text = given.model_dump_json() if isinstance(given, InferenceRequest) else json.dumps(given)
        yield _asked(server, sent(name, model, f"/v2/models/{model}/infer", text))
    yield _asked(server, sent("a version", "wine", f"/v2/models/wine/versions/{VERSION}/infer", json.dumps(TUTORIAL)))
    for name, model, path, document in refused():
        yield _asked(server, sent(name, model, f"/v2/models/{model}{path}/infer", json.dumps(document)))
    yield _asked(server, sent("a body that is no JSON", "wine", "/v2/models/wine/infer", "{"))
    for path in PAGES:
        yield _asked(server, sent(f"page {path}", "wine", path))
    for model in server.models:
        yield _asked(server, sent(f"metadata of {model}", model, f"/v2/models/{model}"))
    for name, model, request, raw in by_grpc():
        body = ModelInferRequestConverter.from_types(request, model, use_raw=raw).SerializeToString()
        yield _called(server, name, model, "ModelInfer", body)
    yield _called(server, "live", "wine", "ServerLive", b"")
    yield _called(server, "ready", "wine", "ServerReady", b"")
    named = messages.ModelReadyRequest(name="wine").SerializeToString()
    yield _called(server, "the model is ready", "wine", "ModelReady", named)
    yield _called(server, "metadata by gRPC", "wine", "ModelMetadata", named)


def sent(name: str, model: str, path: str, text: str = "", media_type: str = "application/json") -> dict[str, Any]:
    """Return a request of HTTP: by POST if it has a text, else by GET."""
    return {"name": name, "model": model, "path": path, "media_type": media_type if text else "", "request": text}


def _asked(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    status, body = server.ask(request["path"], request["request"].encode(), request["media_type"])
    try:
        answer = json.loads(body) if body else None
    except ValueError:
        answer = body.decode()
    if isinstance(answer, dict) and not re.search(r'"id": ?"', request["request"]):
        answer.pop("id", None)  # a random one
    return {**request, "status": status, "answer": answer}


def _called(server: Server, name: str, model: str, method: str, body: bytes) -> dict[str, Any]:
    status, answer = server.call(method, body)
    if status == "OK" and method == "ModelInfer":
        response = messages.ModelInferResponse.FromString(answer)
        response.ClearField("id")  # a random one
        answer = response.SerializeToString(deterministic=True)
    request = {"model": model, "call": method, "request": base64.b64encode(body).decode()}
    return {"name": name, **request, "status": status, "answer": base64.b64encode(answer).decode()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(models: Path, directory: Path, names: Sequence[str]) -> Iterator[Server]:
    server = Server(models, directory, names)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def main() -> None:
    models, directory, recordings = (Path(argument).resolve() for argument in sys.argv[1:])
    versions = {name: version(name) for name in ("mlserver", "mlserver-mlflow", "mlflow", "pandas", "numpy")}
    with running(models, directory / "all", sorted(path.name for path in models.iterdir())) as server:
        found = list(exchanges(server))
    with running(models, directory / "one", ["wine"]) as server:  # of several models, any one answers MLflow's protocol
        found += [
            _asked(server, sent(f"invocations: {name}", "wine", "/invocations", body.decode(), media_type))
            for name, media_type, body in invocations()
        ]
    lines = [json.dumps(line, ensure_ascii=False) for line in (versions, *found)]
    recordings.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
