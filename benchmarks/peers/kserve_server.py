"""KServe's Python server: `python kserve_server.py <model.pkl> --http_port <port> --workers 2`."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import kserve
import numpy as np


class Served(kserve.Model):  # type: ignore[misc]  # it has no types here
    def __init__(self, path: str) -> None:
        super().__init__("model")
        self._path = path
        self.load()

    def load(self) -> bool:
        self._model = pickle.loads(Path(self._path).read_bytes())  # noqa: S301  ours
        self.ready = True
        return True

    def predict(self, payload: dict[str, Any], headers: Any = None, response_headers: Any = None) -> dict[str, Any]:
        return {"predictions": self._model.predict(np.array(payload["instances"], dtype=float)).tolist()}


parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
parser.add_argument("model")
options = parser.parse_args()

if __name__ == "__main__":
    kserve.ModelServer(workers=options.workers, http_port=options.http_port, enable_grpc=False).start(
        [Served(options.model)]
    )
