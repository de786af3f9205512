"""LitServe with batches: `python litserve_server.py <model.pkl> <port>`."""

import pickle
import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np


class Served(litserve.LitAPI):  # type: ignore[misc]  # it has no types here
    def setup(self, device: str) -> None:
        self._model = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301  ours

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.array(request["row"], dtype=float)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        return self._model.predict(x)

    def unbatch(self, output: Any) -> list[float]:
        values: list[float] = output.tolist()
        return values

    def encode_response(self, output: float) -> dict[str, float]:
        return {"prediction": output}


if __name__ == "__main__":
    server = litserve.LitServer(Served(max_batch_size=64, batch_timeout=0.001), accelerator="cpu", workers_per_device=2)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
