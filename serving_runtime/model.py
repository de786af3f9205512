"""One model of this process: loaded once, warmed, and asked."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving_runtime.errors import ModelLoadError, ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.input.forms import Request
from serving_runtime.mlmodel import Metadata, read_metadata
from serving_runtime.pyfunc import PyfuncModel, call, load_pyfunc

_log = logging.getLogger(__name__)


class Model:
    """Predicts from any thread, as far as the model's own code can."""

    def __init__(self, path: Path, metadata: Metadata, pyfunc: PyfuncModel) -> None:
        self.path = path
        self.metadata = metadata
        self._pyfunc = pyfunc

    def predict(self, request: Request) -> Any:
        """What the model returns: an array, a frame, a list or what its author chose. Raises ServingError."""
        conformed = conformer(self.metadata.signature)(request)
        return self.ask(conformed.data, conformed.params)

    def ask(self, data: Any, params: Mapping[str, Any] | None) -> Any:
        """The same for what is conformed to the signature already. Raises ServingError."""
        return call(self._pyfunc, data, None if params is None else dict(params))

    def warm_up(self) -> None:
        """Predicts the example that was logged with the model, so that the first caller does not wait for what a first call loads.

        A model without one is not called. Raises ModelLoadError where the example fails.
        """
        from serving_runtime.invocations import answer  # noqa: PLC0415  a protocol stands above the model; its example is a body of it

        if self.metadata.serving_example is None:
            _log.info("the model has no input example, so it is not warmed")
            return
        try:
            answer(self, (self.path / self.metadata.serving_example).read_bytes(), "application/json")
        except (OSError, ServingError) as error:
            raise ModelLoadError(f"the model does not predict its own input example: {error}") from error


def load(path: Path) -> Model:
    """Loads the model in the directory `path`. Raises ModelLoadError."""
    metadata = read_metadata(path)
    return Model(path, metadata, load_pyfunc(path))
