"""The recordings of MLServer's answers, beside a real MLServer and a server of this project with the same models.

tests/serving_runtime/protocols/test_mlserver.py replays the recordings without a server.
"""

import base64
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from testbed.infer_messages import Request, Response
from testbed.mlserver import RECORDINGS, Exchange, models, record, recorded
from testbed.rpc_client import rpc_client
from testbed.runtime_server import RuntimeServer, serving
from tests.serving_runtime.protocols.test_mlserver import PREDICTED, compared, document_of, infers

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models(tmp_path_factory.mktemp("mlserver-models"))


@pytest.fixture(scope="module")
def real(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that were made now."""
    directory = tmp_path_factory.mktemp("mlserver")
    record(saved, directory / "server", directory / "recorded.jsonl")
    return directory / "recorded.jsonl"


def test_recordings_are_what_the_real_server_answers(real: Path) -> None:
    assert real.read_text().splitlines()[0] == RECORDINGS.read_text().splitlines()[0], "other versions"
    for now, then in zip(recorded(real), recorded(), strict=True):
        assert messages_of(now) == messages_of(then), now["name"]


def test_both_servers_answer_the_same_request_with_the_same_values(real: Path, saved: Path, tmp_path: Path) -> None:
    exchanges = [exchange for exchange in recorded(real) if infers(exchange) and exchange["status"] in PREDICTED]
    with ExitStack() as stack:
        for model in sorted({exchange["model"] for exchange in exchanges}):
            flags = ("--workers=1", f"--model-name={model}", "--model-version=3")
            server = stack.enter_context(serving(saved / model, *flags, log=tmp_path / f"{model}.log", grpc=True))
            for exchange in (each for each in exchanges if each["model"] == model):
                assert compared(asked(server, exchange)) == compared(answered(exchange)), exchange["name"]


def messages_of(exchange: Exchange) -> Exchange:
    """Return the exchange with messages in place of their bytes, in which the entries of a map have any order."""
    if exchange.get("call") != "ModelInfer":
        return exchange
    types = {"request": Request, "answer": Response}
    return exchange | {name: kind.FromString(base64.b64decode(exchange[name])) for name, kind in types.items()}


def asked(server: RuntimeServer, exchange: Exchange) -> dict[str, Any]:
    if "call" not in exchange:
        headers = {"Content-Type": exchange["media_type"]}
        found: dict[str, Any] = server.ask("POST", exchange["path"], exchange["request"].encode(), headers).document
        return found
    with rpc_client(server.grpc_port) as client:
        method = f"/inference.GRPCInferenceService/{exchange['call']}"
        return document_of(client.call(method, base64.b64decode(exchange["request"])).body)


def answered(exchange: Exchange) -> dict[str, Any]:
    answer: dict[str, Any] = exchange["answer"]
    return document_of(base64.b64decode(exchange["answer"])) if "call" in exchange else answer
