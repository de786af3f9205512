"""One model of this process: loaded once, warmed, and asked."""

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from serving_runtime.errors import ModelLoadError, ServingError
from serving_runtime.input.conform import Conformed, conformer
from serving_runtime.input.forms import Frame, Request
from serving_runtime.loaders.choice import Loader
from serving_runtime.loaders.frames import as_table
from serving_runtime.loaders.native import LOADERS, load_native
from serving_runtime.loaders.native_model import NativeModel
from serving_runtime.mlmodel import Metadata, read_metadata
from serving_runtime.plan import Conform, Matrix, Plan, merged
from serving_runtime.pyfunc import PyfuncModel, StreamingModel, call, load_pyfunc, stream

_log = logging.getLogger(__name__)


class Model:
    """Predicts from any thread, as far as the model's own code can."""

    def __init__(self, path: Path, metadata: Metadata, pyfunc: PyfuncModel) -> None:
        self.path = path
        self.metadata = metadata
        self.load_seconds = 0.0
        self._pyfunc = pyfunc
        self._by_position = isinstance(pyfunc, NativeModel) and pyfunc.by_position
        self.plan = Plan(metadata.signature, partial(self._general, conformer(metadata.signature)))

    @property
    def native(self) -> bool:
        """It was loaded without MLflow."""
        return isinstance(self._pyfunc, NativeModel)

    @property
    def of_numbers(self) -> bool:
        """A library computes its predictions; no code of its author's does, which may do anything, and wait for it."""
        return self.metadata.flavors["python_function"].get("loader_module") in LOADERS

    def predict(self, request: Request) -> Any:
        """What the model returns: an array, a frame, a list or what its author chose. Raises ServingError."""
        conformed = self.plan.conform(request)
        return self.ask(conformed.data, conformed.params)

    def ask(self, data: Any, params: Mapping[str, Any] | None) -> Any:
        """The same for what is conformed to the signature already. Raises ServingError; what the model raised goes to the log."""
        return call(self._pyfunc, self._given([data]), None if params is None else dict(params))

    def attempt(self, inputs: Sequence[Any], params: Mapping[str, Any] | None) -> Any:
        """One prediction for inputs that may become one. Raises whatever the model does: the caller goes on in another way."""
        return self._pyfunc.predict(self._given(inputs), params=None if params is None else dict(params))

    def stream(self, data: Any, params: Mapping[str, Any] | None) -> Generator[Any]:
        """The parts of an answer, as the model makes them. Raises ServingError, at any of them."""
        return stream(cast("StreamingModel", self._pyfunc), self._given([data]), None if params is None else dict(params))

    def example(self) -> Conformed | None:
        """The input that was logged with the model. Raises ModelLoadError where it does not fit the model."""
        from serving_runtime.invocations import read_request  # noqa: PLC0415  a protocol stands above the model; its example is a body of it

        if self.metadata.serving_example is None:
            return None
        try:
            body = (self.path / self.metadata.serving_example).read_bytes()
            return self.plan.conform(read_request(body, "application/json", self.metadata.signature))
        except (OSError, ServingError) as error:
            raise ModelLoadError(f"the model does not predict its own input example: {error}") from error

    def warm_up(self) -> None:
        """Predicts the example, so that the first caller does not wait for what a first call loads.

        A model without one is not called. Raises ModelLoadError where the example fails.
        """
        from serving_runtime.codec.encode import encode  # noqa: PLC0415  what a first call of it loads is loaded too

        example = self.example()
        if example is None:
            _log.info("the model has no input example, so it is not warmed")
            return
        try:
            encode(self.ask(example.data, example.params), wrapped=True)
        except ServingError as error:
            raise ModelLoadError(f"the model does not predict its own input example: {error}") from error

    def _given(self, inputs: Sequence[Any]) -> Any:
        """What the model itself takes for them."""
        data = merged(inputs)
        match data:
            case Matrix():
                # No rows at all are an error to LightGBM, where they come as a frame.
                return data.rows if self._by_position and data.values.size else data.frame
            case _:
                return data

    def _general(self, conform: Conform, request: Request) -> Conformed:
        """MLflow's own check judges frames that came with types; without it they are checked as all others are."""
        if self.native and isinstance(request.input, Frame):
            request = Request(input=as_table(request.input.frame), params=request.params, params_path=request.params_path)
        return conform(request)


def load(path: Path, loader: Loader = Loader.MLFLOW) -> Model:
    """Loads the model in the directory `path`. Raises ModelLoadError."""
    began = time.perf_counter()
    metadata = read_metadata(path)
    model = Model(path, metadata, _native(path, metadata, loader) or load_pyfunc(path))
    model.load_seconds = time.perf_counter() - began
    return model


def _native(path: Path, metadata: Metadata, loader: Loader) -> NativeModel | None:
    """`auto` takes it only where an example can show that it predicts as MLflow does."""
    if loader is Loader.MLFLOW or (loader is Loader.AUTO and metadata.serving_example is None):
        return None
    native = load_native(path, metadata)
    if native is None and loader is Loader.NATIVE:
        raise ModelLoadError(f"the model in {path} cannot be loaded without MLflow; use --loader auto")
    return native
