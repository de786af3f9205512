"""Calls of the core by each protocol, without a server."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.model import Model
from serving_runtime.options import Nan
from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Answer, Message, Prediction, Protocol, Refusal, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference.protocol import GRPC, OPEN_INFERENCE

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol for protocol in (INVOCATIONS, OPEN_INFERENCE, KSERVE_V1, DOMINO, GRPC)
}
LENGTH = b"inference-header-content-length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Calls of one model."""

    model: Model
    nan: Nan = Nan.NULL
    name: str = "m"

    @property
    def served(self) -> ServedModel:
        metadata = self.model.metadata
        return ServedModel(
            name=self.name, version="3", metadata=metadata, conform=conformer(metadata.signature), nan=self.nan
        )

    def __call__(
        self,
        protocol: str,
        body: Any,
        headers: Mapping[bytes, bytes] | None = None,
        path: Mapping[str, str] | None = None,
    ) -> Answer:
        spoken = PROTOCOLS[protocol]
        served = self.served
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            inputs = spoken.read(Message(body=sent, headers=headers or {}, path=path or {"model": self.name}), served)
            value = self.model.predict_conformed(inputs.data, inputs.params)
            return inputs.write(Prediction(value=value, seconds=0.0015), served)
        except ServingError as error:
            return spoken.refuse(Refusal.of(error))

    def behind(self, document: Any, *tensors: bytes) -> Answer:
        """Ask by V2, with tensors behind the JSON."""
        text = json.dumps(document).encode()
        return self("v2", text + b"".join(tensors), {LENGTH: b"%d" % len(text)})


Ask = Callable[[str], Asked]


@pytest.fixture
def ask(model: Callable[[str], Model]) -> Ask:
    return lambda name: Asked(model=model(name))
